"""`GuardedSimulator`: a simulator as environments step it, guarded and with a penalty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.guard import Reason, reasons
from persim_gym.envs.lanes import Advance, RowAdvance
from persim_gym.learned.compiled import Compiled, compile_ensemble, settle
from persim_gym.learned.contrasts import deviations
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.uncertainty.learn import disturb
from persim_gym.threads import few_threads

Propagation = Literal["mean", "random_member", "fixed_member", "sample"]
PROPAGATIONS = ("mean", "random_member", "fixed_member", "sample")
#: Those that follow single members.
MEMBERS = ("random_member", "fixed_member")

#: Share of the recorded range by which a state may leave it before the guard stops.
SUPPORT_MARGIN = 0.5
#: Distance from a bound, in units of it, within which single precision does not say on which side.
CLOSE = 1e-5
#: Disagreement whose square single precision may not hold.
OVERFLOWS = 1e15


_FINE = Reason()


class GuardedSimulator:
    """A simulator as the shells step it: members followed, guarded, with a penalty.

    The guard truncates, and never terminates, with the reason in ``info["guard"]``:
    ``"non-finite"``, ``"support"`` (a coordinate further out of the recorded range than
    :data:`SUPPORT_MARGIN` of its width) or ``"disagreement"`` (beyond what was calibrated on
    held-out transitions).

    Args:
        sim: The simulator.
        propagation: ``"mean"`` of the members, a ``"random_member"`` in each step, a
            ``"fixed_member"`` for the whole episode, or a ``"sample"``: the mean and noise of the
            process, as it was found in the data.
        guard: Whether to stop off the support or at high disagreement; what is not finite always
            stops.
        penalty: Reward to subtract per unit of disagreement.
        strict: Refuse actions outside of what was recorded of any agent.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid.
    """

    def __init__(
        self,
        sim: LearnedDynamics,
        propagation: Propagation = "mean",
        guard: bool = True,
        penalty: float = 0.0,
        strict: bool = False,
    ) -> None:
        checks.one_of("propagation", propagation, PROPAGATIONS)
        space: Any = sim.task.action_space
        if not isinstance(guard, (bool, np.bool_)):
            raise TypeError(f"guard must be True or False, got {guard!r}")
        self.sim = sim
        self.strict = checks.switch("strict", strict)
        if self.strict:
            sim.check_actions(np.zeros(0, np.int64), np.zeros((0, *space.shape), np.int64))
        self._noise = sim.uncertainty.noise if propagation == "sample" else None
        self.propagation = propagation
        self.guard = bool(guard)
        self.penalty = checks.number("penalty", penalty, 0, says="finite and not negative")
        bounds, experience = sim.ensemble.limits, sim.experience
        margin = SUPPORT_MARGIN * (experience.high - experience.low)
        support = experience.low - margin, experience.high + margin
        self._support = tuple(bound.astype(np.float64) for bound in support)
        # Where the space is no more than the record, to cut an action to it is to invent one.
        self.takes_uncut_actions = getattr(sim.task, "recorded_actions", False) and not isinstance(
            space, Discrete
        )
        self._action_ends = (space.low, space.high) if self.takes_uncut_actions else None
        self._space = low, high = tuple(bound.double().cpu().numpy() for bound in bounds)
        near = [CLOSE * np.where(np.isfinite(bound), np.abs(bound), 0.0) for bound in (low, high)]
        self._well_inside = low + near[0], high - near[1]
        # No member is further from their mean than this times the disagreement [d].
        root = math.sqrt(sim.members * sim.ensemble.obs_dim)
        self._unit = experience.change_scale.astype(np.float64)
        self._reach = root * self._unit
        rows = (*self._well_inside, *self._support, self._reach)
        self._by_coordinate = list(zip(*(part.tolist() for part in rows), strict=True))
        self._compiled: tuple[Ensemble | None, Compiled | None] = None, None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made anew in no time."""
        return {**self.__dict__, "_compiled": (None, None)}

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return self.sim.num_agents

    @property
    def agent_names(self) -> tuple[str, ...] | None:
        """What the agents are called in the data ``[N]``, or ``None``."""
        return self.sim.agent_names

    def agent_indices(self, agents: Any) -> Any:
        """Agents by name or index as indices; see :meth:`LearnedDynamics.agent_indices`."""
        return self.sim.agent_indices(agents)

    def check_seen(self, agents: NDArray[np.int64]) -> None:
        """Refuse agents that nothing was recorded of."""
        self.sim.check_seen(agents)

    def check_actions(self, agents: NDArray[np.int64], actions: NDArray[Any]) -> None:
        """Refuse actions outside of the record; the shells ask where it is ``strict``."""
        self.sim.check_actions(agents, actions)

    def plain_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of an environment's spec that say the same in another folder and from JSON."""
        plain = dict(arguments)
        if isinstance(simulator := plain.get("simulator"), (str, Path)):
            plain["simulator"] = str(checks.as_path("simulator", simulator).resolve())
        for word in ("agent", "agents"):
            if word in plain:
                plain[word] = self.sim.names.label(plain[word])
        return plain

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.sim.lag

    @property
    def quiet_info(self) -> dict[str, np.generic]:
        """What ``info`` holds at a reset; see :class:`~persim_gym.envs.lanes.GuardedDynamics`."""
        info: dict[str, np.generic] = {
            "disagreement": np.float64(0),
            "clipped": np.int64(0),
            "guard": _FINE,
            "outside": np.int64(0),
            "outside_own": np.int64(0),
        }
        if self.penalty:
            info |= {"reward_raw": np.float64(0), "penalty": np.float64(0)}
        return info

    def recall(self, obs: Any) -> Any:
        """States in which episodes begin; see :meth:`LearnedDynamics.recall`."""
        return self.sim.recall(obs)

    def follow(self, states: Any, actions: Any, obs: Any) -> Any:
        """States after a step; see :meth:`LearnedDynamics.follow`."""
        return self.sim.follow(states, actions, obs)

    def step(self, agents: Any, states: Any, actions: Any) -> Any:
        """The members' mean, unguarded."""
        return self.sim.predict(agents, states, actions)

    def begin(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The member that each of ``n`` beginning episodes follows."""
        if self.propagation == "fixed_member":
            return rng.integers(0, self.sim.members, size=n)
        return np.zeros(n, dtype=np.int64)

    @property
    def compiled(self) -> Compiled | None:
        """The simulator made ready for stepping, or ``None`` where it is not to be had."""
        made_of, compiled = self._compiled
        if made_of is not self.sim.ensemble:
            compiled = compile_ensemble(self.sim.ensemble, self._unit, compiled)
            self._compiled = self.sim.ensemble, compiled
        return compiled

    def advance(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Advance:
        """One step of ``n`` rows; see :class:`~persim_gym.envs.lanes.GuardedDynamics`."""
        if self.propagation == "random_member":
            kept = rng.integers(0, self.sim.members, size=len(agents))
        return self._advance(agents, states, actions, kept, rng)

    def _advance(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Advance:
        sim = self.sim
        sim.check_seen(agents)
        record, compiled = sim.action_record, self.compiled
        outside = None if record is None else record.measure(agents, actions)
        if outside is not None and self._action_ends is not None:
            actions = np.clip(actions, *self._action_ends)
        if compiled is None:
            following, spread, clipped = self._settled(agents, states, actions, kept)
        else:
            following, spread, clipped = self._stepped(compiled, agents, states, actions, kept)
        if self._noise is not None:
            following = self._sampled(agents, states, following, rng)
            low, high = self._space
            at = np.asarray((following <= low) | (following >= high))
            clipped = np.maximum(clipped, at.sum(axis=1))
        counts = np.zeros((2, len(agents)), dtype=np.int64) if outside is None else outside[:2]
        if outside is not None:
            spread = np.hypot(spread, outside.extra)
        penalty = self.penalty * spread if self.penalty else None
        info = {
            "disagreement": spread, "clipped": clipped, "guard": reasons(len(agents)),
            "outside": counts[0], "outside_own": counts[1],
        }  # fmt: skip
        if self._all_trusted(following, spread):
            stop = np.zeros(len(agents), dtype=np.bool_)
            return Advance(following, stop, penalty, info)
        # One member that is lost is enough, whichever is followed: disagreement knows them all.
        lost: NDArray[np.bool_] = ~(np.isfinite(following).all(axis=1) & np.isfinite(spread))
        if lost.any():  # the last state that was one stays; nothing else can be said
            following[lost] = states.reshape(len(agents), -1)[lost, -following.shape[1] :]
            spread[lost], clipped[lost] = np.inf, 0
            if penalty is not None:
                penalty[lost] = 0.0
        why = {"non_finite": lost}
        if self.guard:
            low, high = self._support
            off = np.asarray(((following < low) | (following > high)).any(axis=1))
            torn = spread > sim.experience.disagreement_limit
            why = {"disagreement": torn, "support": np.asarray(off), "non_finite": lost}
        info["guard"] = guard = reasons(len(agents), **why)
        return Advance(following, np.asarray(guard > 0), penalty, info)

    def _sampled(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        following: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Next observations ``[n, d]`` with noise of the process."""
        assert self._noise is not None
        ensemble, device = self.sim.ensemble, self.sim.device
        before = torch.as_tensor(np.array(states), device=device).flatten(1)
        after = torch.as_tensor(np.array(following), device=device)
        found = disturb(ensemble, self._noise, agents, before, after, rng)
        return np.asarray(found.cpu().numpy(), dtype=np.float64)

    def _all_trusted(self, following: NDArray[np.float64], spread: NDArray[np.float64]) -> bool:
        """Whether there is nothing to stop anywhere: a few numbers say so of all rows."""
        largest = float(spread.max())
        limit = self.sim.experience.disagreement_limit if self.guard else math.inf
        least, most = following.min(axis=0).tolist(), following.max(axis=0).tolist()
        for x, y, (_, _, low, high, _) in zip(least, most, self._by_coordinate, strict=True):
            if self.guard and not (low <= x and y <= high):
                return False
            if not -math.inf < x <= y < math.inf:
                return False
        return largest <= limit and largest < math.inf

    def _stepped(
        self,
        compiled: Compiled,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Next observations ``[n, d]``, disagreement ``[n]`` and coordinates put back ``[n]``."""
        n, d = len(agents), len(self._unit)
        flat = states.T if states.ndim == 2 else states.reshape(n, -1).T
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for
            change = compiled.change(agents, flat, actions)  # [m, d, n]
            apart = change[1:]
            following = middle = flat[-d:] + change[0]
            if self.propagation in MEMBERS:
                own = deviations(apart, self._reach)
                following = middle + own[kept, :, np.arange(n)].T
            spread = np.sqrt(np.einsum("mdn,mdn->n", apart, apart)).astype(np.float64)
        clipped = np.zeros(n, dtype=np.int64)
        least, most = middle.min(axis=1).tolist(), middle.max(axis=1).tolist()
        if not self._within(least, most, float(spread.max())):
            with np.errstate(over="ignore", invalid="ignore"):
                near = np.flatnonzero(~self._inside(middle, spread))
                if len(near):
                    members = middle[:, near] + deviations(apart[..., near], self._reach)
                    found = self._settle(members, kept[near])
                    following[:, near], spread[near], clipped[near] = found
        return following.T, spread, clipped

    def _inside(
        self, middle: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Rows of which no member can be over a bound, by their mean ``[d, n]``."""
        far = self._reach[:, None] * spread
        low, high = (bound[:, None] for bound in self._well_inside)
        inside: NDArray[np.bool_] = (middle - far >= low) & (middle + far <= high)
        return np.asarray(inside.all(axis=0))

    def _within(self, least: list[float], most: list[float], spread: float) -> bool:
        """Whether no member can be over a bound where their mean is between these ``[d]``."""
        for x, y, (low, high, _, _, reach) in zip(least, most, self._by_coordinate, strict=True):
            if not (x - spread * reach >= low and y + spread * reach <= high):
                return False
        return True

    def _settle(
        self, raw: NDArray[np.float64], kept: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Members' predictions ``[m, d, k]``, settled; what is followed is ``[d, k]``."""
        low, high = (bound[:, None] for bound in self._space)
        outside = (raw < low) | (raw > high)
        members = settle(raw, self.sim.ensemble, low, high)
        mean = members.mean(axis=0)
        apart = np.square((members - mean) / self._reach[:, None])
        spread = np.sqrt(np.add.reduce(apart.reshape(-1, apart.shape[2]), axis=0))
        spread[spread > OVERFLOWS] = np.inf
        if self.propagation not in MEMBERS:
            return mean, spread, outside.any(axis=0).sum(axis=0)
        rows = np.arange(len(kept))
        return members[kept, :, rows].T, spread, outside[kept, :, rows].sum(axis=1)

    def _settled(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """The same in torch, wherever it is computed."""
        sim, n = self.sim, len(agents)
        device = sim.device
        flat = np.ascontiguousarray(states, dtype=np.float32).reshape(n, -1)
        acted = actions.astype(np.float32) if actions.dtype.kind == "f" else actions
        with few_threads(sim.members * n, sim.ensemble.widths, device):
            parts = (torch.as_tensor(part, device=device) for part in (agents, flat, acted))
            raw = before_bounds(sim.ensemble, *parts)
            members = sim.ensemble.settle(raw)
            low, high = (torch.as_tensor(bound).to(raw) for bound in self._space)
            over = ((raw < low) | (raw > high)).cpu().numpy()
            spread = sim.spread(members).cpu().numpy().astype(np.float64)
        if self.propagation not in MEMBERS:
            following, outside = members.mean(0).cpu().numpy(), over.any(0)
        else:
            rows = np.arange(n)
            following, outside = members.cpu().numpy()[kept, rows], over[kept, rows]
        return following.astype(np.float64), spread, outside.sum(axis=1)

    def advance_row(
        self,
        agent: int,
        state: Sequence[float],
        action: Any,
        kept: int,
        rng: np.random.Generator,
    ) -> RowAdvance:
        """One step of one row; see :class:`~persim_gym.envs.lanes.GuardedRows`."""
        sim = self.sim
        if self.propagation == "random_member":
            kept = int(rng.integers(0, sim.members, size=1)[0])
        compiled, record = self.compiled, sim.action_record
        if compiled is None or self._noise is not None:
            return self._settled_row(agent, state, action, kept, rng)
        counts, extra, taken = (0, 0), 0.0, action
        if record is not None and not record.everything:
            plain = action.tolist() if isinstance(action, np.ndarray) else action
            if not record.covers(agent, plain):
                found = record.measure(np.array([agent]), np.array([action]))
                if found is not None:
                    counts = int(found.outside[0]), int(found.own[0])
                    extra = float(found.extra[0])
                if self._action_ends is not None:
                    cut = np.clip(action, *self._action_ends)
                    taken = cut if isinstance(action, np.ndarray) else cut.tolist()
        following, apart, spread = compiled.row(agent)(state, taken)
        unsure = math.hypot(spread, extra) if extra else spread
        if not (unsure < OVERFLOWS and self._within(following, following, spread)):
            return self._settled_row(agent, state, action, kept, rng)
        if self.propagation in MEMBERS:
            d = len(following)
            own = apart[kept * d : (kept + 1) * d] * self._reach
            following = [x + y for x, y in zip(following, own.tolist(), strict=True)]
        reason = _FINE
        if self.guard:
            if unsure > sim.experience.disagreement_limit:
                reason = Reason("disagreement")
            for x, (_, _, low, high, _) in zip(following, self._by_coordinate, strict=True):
                if not low <= x <= high:
                    reason = Reason("support")
        return RowAdvance(following, reason, unsure, 0, self.penalty * unsure, *counts)

    def _settled_row(
        self,
        agent: int,
        state: Sequence[float],
        action: Any,
        kept: int,
        rng: np.random.Generator,
    ) -> RowAdvance:
        rows = [np.array([given]) for given in (agent, state, action, kept)]
        found = self._advance(rows[0], rows[1], rows[2], rows[3], rng)
        return RowAdvance(
            found.next_obs[0].tolist(),
            found.info["guard"][0],
            float(found.info["disagreement"][0]),
            int(found.info["clipped"][0]),
            0.0 if found.penalty is None else float(found.penalty[0]),
            int(found.info["outside"][0]),
            int(found.info["outside_own"][0]),
        )
