"""What a planner maximises: the return of action sequences, for many problems at once."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array, Dynamics, Task, check_dynamics, check_task, next_states
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.planning.running_returns import Tally, columns

Propagation = Literal["members", "mean", "sampled", "sample"]
PROPAGATIONS: tuple[Propagation, ...] = ("members", "mean", "sampled", "sample")

#: Rows (problem, candidate) that are unrolled together: few enough for a processor's cache, many
#: enough for an accelerator.
ROWS_AT_ONCE = {"cpu": 1024, "cuda": 262_144}


@runtime_checkable
class UnrollingDynamics(Dynamics, Protocol):
    """A dynamics that unrolls many action sequences from few states by itself."""

    def unroll(
        self, agents: Array, states: Array, actions: Array, mode: Propagation
    ) -> Generator[Tensor, Tensor | None, None]:
        """Step by step ``[m, p, k, d]``, for actions ``[p, k, h(, a)]`` of ``p`` problems.

        Each step is a tensor of its own, which later ones do not overwrite. With mode
        ``"sampled"``, where each candidate follows one member, it is ``[1, p, k, d]``. Indices
        ``[p, k']`` of the candidates that go on may be sent back.
        """


@runtime_checkable
class ComparingDynamics(UnrollingDynamics, Protocol):
    """A dynamics of several members that says how far they are apart."""

    @property
    def members(self) -> int:
        """Number of members ``m``."""

    def disagreement_of(self, predictions: Tensor) -> Tensor:
        """Disagreement ``[...]`` of members' predictions ``[m, ..., d]``."""


@runtime_checkable
class NoisyDynamics(UnrollingDynamics, Protocol):
    """A dynamics that draws the process's noise."""

    @property
    def noisy(self) -> bool:
        """Whether it knows that noise."""

    def unroll_noisy(
        self, agents: Array, states: Array, actions: Array, seed: int
    ) -> Generator[Tensor, Tensor | None, None]:
        """As :meth:`unroll` with mode ``"members"``; the noise is the same for all candidates."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """A bonus for the largest value that a coordinate reaches in a planned rollout.

    Original: on MountainCar the authors' planner adds half of the largest position; without it a
    horizon that does not reach the goal has nothing to choose by.

    Attributes:
        coordinate: Which coordinate.
        weight: Factor on its largest value.
    """

    coordinate: int
    weight: float


@dataclass(frozen=True, slots=True)
class Upright:
    """A cost of an angle that is not 0, in every step of a planned rollout.

    It is ``weight * (1 - cos(angle)) / 2``: nothing upright, ``weight`` upside down, and the same
    after a whole turn. To fall forward pays at once, and what a fall costs is beyond a short
    horizon: a planner without this ends on its back.

    Attributes:
        coordinate: Which coordinate, in radians.
        weight: Reward to subtract where it is upside down.
    """

    coordinate: int
    weight: float

    def cost(self, obs: Tensor) -> Tensor:
        """Of observations ``[..., d]``: ``[...]``."""
        return self.weight * (1 - obs[..., self.coordinate].cos()) / 2


@dataclass(frozen=True, slots=True)
class Objective:
    """Undiscounted return of action sequences under a task and a dynamics.

    Rewards count up to the step that ends the episode, that step included. With an ensemble the
    return is the members' average. A rollout that leaves the finite numbers before its end is
    worth minus infinity, whatever its rewards.

    How members are followed, ``propagation``:

    * ``"members"``: each member goes on from its own prediction. A candidate's return is the
      average over members; it costs ``m`` predictions a step.
    * ``"mean"``: all members predict from the same state, which is the mean of their last
      predictions. Rewards and ends are still those of each member's own prediction.
    * ``"sampled"``: candidate ``j`` follows member ``j mod m`` alone, and its return is what that
      member says: one prediction a step instead of ``m``. Of candidates that are equally good
      in the true environment, those whose member is more hopeful are preferred.
    * ``"sample"``: as ``"members"``, with the process's noise as it was found in the data. What is
      drawn is the same for all candidates of a problem, and new in each decision.

    With a ``penalty`` each step's reward is reduced by ``penalty`` times the members' disagreement
    about the state after it, which is what :meth:`PerSim.disagreement_of
    <persim_gym.learned.PerSim.disagreement_of>` says: the root mean square over coordinates of the
    members' deviation from their mean, in units of that of recorded changes. With ``"members"`` the
    states that are compared are those that the members have come to after ``t`` steps, each on its
    own, so that disagreement adds up along a sequence; with ``"mean"`` they are the members'
    predictions of one step from the same state, as in an environment with a penalty that follows
    the mean.
    Members whose episode has ended are compared no more; the last one has none to be compared with.

    Attributes:
        task: Reward and termination.
        dynamics: True or learned.
        propagation: ``"members"``, ``"mean"``, ``"sampled"`` or ``"sample"``.
        shaping: What is added to the return for planning's sake alone, or ``None``.
        penalty: Reward to subtract per unit of disagreement, in every step.
        seed: Of the noise that ``"sample"`` draws.

    Raises:
        TypeError: If the penalty is no number, or the shaping none of these.
        ValueError: If an option is unknown or negative, or there is a penalty where no members can
            be compared: one member, true physics, or ``"sampled"``.
    """

    task: Task
    dynamics: Dynamics
    propagation: Propagation = "members"
    shaping: Shaping | Upright | None = None
    penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_task(self.task)
        check_dynamics(self.dynamics)
        checks.one_of("propagation", self.propagation, PROPAGATIONS)
        checks.number("penalty", self.penalty, 0, says="finite and not negative")
        _check_shaping(self.shaping, self.task)
        noisy = isinstance(self.dynamics, NoisyDynamics) and self.dynamics.noisy
        if self.propagation == "sample" and not noisy:
            raise ValueError(
                "propagation='sample' needs a simulator that knows the noise of its data, and this "
                f"{type(self.dynamics).__name__} has none: use 'members' or 'mean'"
            )
        if not self.penalty:
            return
        if self.propagation == "sampled":
            raise ValueError(
                f"penalty={self.penalty:g} compares members, and with propagation='sampled' each "
                "candidate follows one: use 'members' or 'mean', or penalty=0"
            )
        if not isinstance(self.dynamics, ComparingDynamics) or self.dynamics.members < 2:
            raise ValueError(
                f"penalty={self.penalty:g} needs a dynamics of several members, and this "
                f"{type(self.dynamics).__name__} has none to compare: fit a simulator with "
                "ensemble_size=2 or more, or use penalty=0"
            )

    def __call__(
        self, agents: Tensor, states: Tensor, actions: Tensor, leading: int | None = None
    ) -> Tensor:
        """Returns of all candidates of all problems.

        Args:
            agents: ``[p]``.
            states: ``[p, d]``, or those of a dynamics with a lag.
            actions: ``[p, k, h]`` integers or ``[p, k, h, a]``.
            leading: How many of a problem's best candidates matter. Where no reward is above 0
                (``task.reward_range``), a candidate that has lost more than so many others can
                come to lose is not followed to its end, and has the return that it had then: less
                than theirs. ``None``: all matter.

        Returns:
            ``[p, k]``.
        """
        problems, candidates = actions.shape[:2]
        bounds = _reward_range(self.task)
        if bounds is None or bounds[1] > 0 or self.shaping is not None or leading == candidates:
            leading = None
        rows = ROWS_AT_ONCE.get(actions.device.type, ROWS_AT_ONCE["cpu"])
        at_once = max(1, rows // candidates)
        pieces = [
            self._returns(
                agents[i : i + at_once], states[i : i + at_once], actions[i : i + at_once], leading
            )
            for i in range(0, problems, at_once)
        ]
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    @torch.no_grad()
    def _returns(
        self, agents: Tensor, states: Tensor, actions: Tensor, leading: int | None
    ) -> Tensor:
        k, h = actions.shape[1:3]
        latest = states.flatten(1)[:, -self.task.observation_space.shape[0] :]
        if self.propagation == "sample":
            assert isinstance(self.dynamics, NoisyDynamics)
            steps = self.dynamics.unroll_noisy(agents, states, actions, self.seed)
        else:
            steps = unroll(self.dynamics, agents, states, actions, self.propagation)
        bonus = self.shaping if isinstance(self.shaping, Shaping) else None
        kept: Tensor | None = None
        first = next(steps)
        tally = Tally.begin(first)
        bounds = _reward_range(self.task)
        cost = math.inf if bounds is None or self.penalty else -bounds[0]  # a penalty has no bound
        before = latest[None, :, None].to(first.dtype).expand_as(first)
        for start in range(0, h, CHECK_EVERY):
            times = min(CHECK_EVERY, h - start)
            window = [before, first if start == 0 else steps.send(kept)]
            window += [next(steps) for _ in range(times - 1)]
            before = window[-1]
            # Coordinates before candidates: each is then one piece of memory.
            seen = torch.stack([obs.mT for obs in window]).mT  # [w + 1, m, p, k, d]
            acted = actions[:, :, start : start + times].movedim(2, 0)[:, None]
            self._count(tally, seen[:-1], acted, seen[1:], bonus)
            kept = None
            if start + times == h:
                break
            if not tally.all_alive:
                running = tally.in_play(leading, (h - start - times) * cost)  # [p, k]
                longest = int(running.sum(1).max())
                if longest == 0:
                    break
                if longest < WORTH_DROPPING * k:
                    # Those that run come first; a problem with fewer keeps some that are over.
                    kept = running.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
                    kept, k = kept[:, :longest], longest
                    tally.keep(kept)
                    actions, before = columns(actions, kept, 1), columns(before, kept[None], 2)
        return tally.returns(None if bonus is None else bonus.weight)

    def _count(
        self, tally: Tally, before: Tensor, acted: Tensor, obs: Tensor, bonus: Shaping | None
    ) -> None:
        """Some steps ``w``: from states ``[w, m, p, k, d]``, by actions ``[w, 1, p, k(, a)]``."""
        reward: Tensor = self.task.reward(before, acted, obs)  # type: ignore[assignment]
        ended: Tensor = self.task.terminated(obs)  # type: ignore[assignment]
        runs = tally.running(ended)
        if self.penalty:
            reward = reward - self.penalty * self._disagreement(obs, runs)
        if isinstance(self.shaping, Upright):
            reward = reward - self.shaping.cost(obs)
        tally.count(reward, obs, runs, None if bonus is None else bonus.coordinate)

    def _disagreement(self, obs: Tensor, runs: Tensor | None) -> Tensor:
        """Of the members that run, ``[w, 1, p, k]``."""
        assert isinstance(self.dynamics, ComparingDynamics)
        if runs is None:
            return self.dynamics.disagreement_of(obs.transpose(0, 1))[:, None]
        count = runs.sum(1, keepdim=True).clamp_min_(1)
        seen = runs[..., None]
        middle = torch.where(seen, obs, 0.0).sum(1, keepdim=True) / count[..., None]
        # Those that are over stand at the others' mean: they add nothing but to the number.
        running = torch.where(seen, obs, middle).transpose(0, 1)
        apart = self.dynamics.disagreement_of(running)[:, None]
        return apart * (runs.shape[1] / count).sqrt_()


def _reward_range(task: Task) -> tuple[float, float] | None:
    """What the data show, or what the class itself says: a derived one may have another reward."""
    if type(task) is DataTask:
        return task.reward_range
    return vars(type(task)).get("reward_range")


def _check_shaping(shaping: object, task: Task) -> None:
    if shaping is None:
        return
    if not isinstance(shaping, (Shaping, Upright)):
        raise TypeError(f"shaping must be a Shaping, an Upright or None, got {shaping!r}")
    d = task.observation_space.shape[0]
    checks.integer("the shaping's coordinate", shaping.coordinate, 0, d - 1)
    checks.number("the shaping's weight", shaping.weight)


#: Steps that are summed together, after which those that have ended may be dropped; and the
#: share of candidates still running below which they are.
CHECK_EVERY = 5
WORTH_DROPPING = 0.8


def unroll(
    dynamics: Dynamics, agents: Tensor, states: Tensor, actions: Tensor, mode: Propagation
) -> Generator[Tensor, Tensor | None, None]:
    """Unroll any dynamics: ``[m, p, k, d]`` for each step, with one member where it has but one.

    Indices ``[p, k']`` of the candidates that go on may be sent back.
    """
    if isinstance(dynamics, UnrollingDynamics):
        yield from dynamics.unroll(agents, states, actions, mode)
        return
    p, k, h = actions.shape[:3]
    rows = np.repeat(agents.cpu().numpy(), k)
    state = states.cpu().numpy().astype(np.float64).repeat(k, axis=0)
    sequence: NDArray[Any] = actions.cpu().numpy().reshape(p * k, h, *actions.shape[3:])
    rollout = getattr(dynamics, "rollout", None)
    trace = None if rollout is None else rollout(rows, state, sequence)
    # Times first: each step's actions are then one piece of memory.
    acted = np.ascontiguousarray(np.moveaxis(sequence, 1, 0))
    for t in range(h):
        # Physics that runs whole sequences by itself has done so.
        obs = np.asarray(dynamics.step(rows, state, acted[t]) if trace is None else trace[:, t])
        # Physics keeps each coordinate in one piece: as it is, that needs no copy.
        columnwise = torch.from_numpy(np.ascontiguousarray(obs.T)).to(actions.device)
        kept = yield columnwise.view(-1, p, k).permute(1, 2, 0)[None]
        if kept is not None:
            first = torch.arange(p, device=kept.device)[:, None] * k
            chosen = (first + kept).flatten().cpu().numpy()
            k = kept.shape[1]
            rows, state, acted = rows[chosen], state[chosen], acted[:, chosen]
            obs = np.ascontiguousarray(obs.T[:, chosen]).T
            trace = None if trace is None else trace[chosen]
        state = next_states(dynamics, state, acted[t], obs)
