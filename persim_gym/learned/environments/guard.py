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
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.environments.served import ServedDynamics
from persim_gym.learned.stepping.member_steps import MemberSteps
from persim_gym.learned.uncertainty.learn import disturb

Propagation = Literal["mean", "random_member", "fixed_member", "sample"]
PROPAGATIONS = ("mean", "random_member", "fixed_member", "sample")

#: Share of the recorded range by which a state may leave it before the guard stops.
SUPPORT_MARGIN = 0.5


_FINE = Reason()


class GuardedSimulator(ServedDynamics):
    """A simulator as the shells step it: members followed, guarded, with a penalty.

    The guard truncates, and never terminates, with the reason in ``info["guard"]``:
    ``"non-finite"``, ``"support"`` (a coordinate further out of the recorded range than
    :data:`SUPPORT_MARGIN` of its width) or ``"disagreement"`` (beyond what was calibrated on
    held-out transitions).

    Args:
        sim: The simulator.
        propagation: ``"mean"`` of the members, a ``"random_member"`` in each step (TS1), a
            ``"fixed_member"`` for the whole episode (TSinf), or a ``"sample"``: the mean and noise
            of the process, as it was found in the data.
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
        super().__init__(sim)
        self.strict = checks.switch("strict", strict)
        if self.strict:
            sim.check_actions(np.zeros(0, np.int64), np.zeros((0, *space.shape), np.int64))
        self._noise = sim.uncertainty.noise if propagation == "sample" else None
        self.propagation = propagation
        self.guard = bool(guard)
        self.penalty = checks.number("penalty", penalty, 0, says="finite and not negative")
        experience = sim.experience
        margin = SUPPORT_MARGIN * (experience.high - experience.low)
        support = experience.low - margin, experience.high + margin
        self._support = tuple(bound.astype(np.float64) for bound in support)
        self._supported = list(zip(*(bound.tolist() for bound in self._support), strict=True))
        # Where the space is no more than the record, to cut an action to it is to invent one.
        recorded = getattr(sim.task, "recorded_actions", False) and sim.action_record is not None
        self.takes_uncut_actions = recorded and not isinstance(space, Discrete)
        self._action_ends = (space.low, space.high) if self.takes_uncut_actions else None
        self._members = MemberSteps(sim, propagation)

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

    def begin(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The member that each of ``n`` beginning episodes follows."""
        if self.propagation == "fixed_member":
            return rng.integers(0, self.sim.members, size=n)
        return np.zeros(n, dtype=np.int64)

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
        record = sim.action_record
        outside = None if record is None else record.measure(agents, actions)
        if outside is not None and self._action_ends is not None:
            actions = np.clip(actions, *self._action_ends)
        step = self._members.rows(agents, states, actions, kept)
        following, unsure, clipped, ends = (
            step.next_obs,
            step.deviation,
            step.clipped,
            step.extremes,
        )
        if self._noise is not None:
            following, ends = self._sampled(agents, states, following, rng), None
            low, high = self._members.space
            at = np.asarray((following <= low) | (following >= high))
            clipped = np.maximum(clipped, at.sum(axis=1))
        counts = np.zeros((2, len(agents)), dtype=np.int64) if outside is None else outside[:2]
        if outside is not None:
            unsure, ends = np.hypot(unsure, outside.extra), None
        penalty = self.penalty * unsure if self.penalty else None
        info = {
            "disagreement": unsure, "clipped": clipped, "guard": reasons(len(agents)),
            "outside": counts[0], "outside_own": counts[1],
        }  # fmt: skip
        if ends is None:
            ends = *(end(axis=0).tolist() for end in (following.min, following.max)), unsure.max()
        if self._all_trusted(*ends):
            return Advance(following, None, penalty, info)
        # One member that is lost is enough, whichever is followed: disagreement knows them all.
        lost: NDArray[np.bool_] = ~(np.isfinite(following).all(axis=1) & np.isfinite(unsure))
        if lost.any():  # the last state that was one stays; nothing else can be said
            following[lost] = states.reshape(len(agents), -1)[lost, -following.shape[1] :]
            unsure[lost], clipped[lost] = np.inf, 0
            if penalty is not None:
                penalty[lost] = 0.0
        why = {"non_finite": lost}
        if self.guard:
            low, high = self._support
            off = np.asarray(((following < low) | (following > high)).any(axis=1))
            torn = unsure > sim.experience.disagreement_limit
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

    def _all_trusted(self, least: list[float], most: list[float], unsure: float) -> bool:
        """Whether there is nothing to stop anywhere: a few numbers say so of all rows."""
        limit = self.sim.experience.disagreement_limit if self.guard else math.inf
        for x, y, (low, high) in zip(least, most, self._supported, strict=True):
            if self.guard and not (low <= x and y <= high):
                return False
            if not -math.inf < x <= y < math.inf:
                return False
        return unsure <= limit and unsure < math.inf

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
        if self._noise is not None:
            return self._of_arrays(agent, state, action, kept, rng)
        counts, extra, taken, record = (0, 0), 0.0, action, sim.action_record
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
        step = self._members.row(agent, state, taken, kept)
        if step is None:
            return self._of_arrays(agent, state, action, kept, rng)
        following, unsure = step
        if extra:
            unsure = math.hypot(unsure, extra)
        reason = _FINE
        if self.guard:
            if unsure > sim.experience.disagreement_limit:
                reason = Reason("disagreement")
            for x, (low, high) in zip(following, self._supported, strict=True):
                if not low <= x <= high:
                    reason = Reason("support")
        return RowAdvance(following, reason, unsure, 0, self.penalty * unsure, *counts)

    def _of_arrays(
        self,
        agent: int,
        state: Sequence[float],
        action: Any,
        kept: int,
        rng: np.random.Generator,
    ) -> RowAdvance:
        """The same by way of :meth:`advance`."""
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
