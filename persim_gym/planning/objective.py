"""What a planner maximises: the return of action sequences, for many problems at once."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from persim_gym.core import Array, Dynamics, Task

Propagation = Literal["members", "mean", "sampled"]
PROPAGATIONS: tuple[Propagation, ...] = ("members", "mean", "sampled")

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

        With mode ``"sampled"``, where each candidate follows one member, ``[1, p, k, d]``.
        Indices ``[p, k']`` of the candidates that go on may be sent back.
        """


@runtime_checkable
class DoubtfulDynamics(UnrollingDynamics, Protocol):
    """A dynamics of several members that says how far they are apart."""

    @property
    def members(self) -> int:
        """Number of members ``m``."""

    def spread(self, predictions: Tensor) -> Tensor:
        """Disagreement ``[...]`` of members' predictions ``[m, ..., d]``."""


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
      member says: one prediction a step instead of ``m``. Of candidates that are equally good in
      truth, those whose member is more hopeful are preferred.

    With a ``penalty`` each step's reward is reduced by ``penalty`` times the members' disagreement
    about the state after it, which is what :meth:`PerSim.spread
    <persim_gym.learned.PerSim.spread>` says: the root mean square over coordinates of the members'
    deviation from their mean, in units of the deviation of recorded changes. With ``"members"`` the
    states that are compared are those that the members have come to after ``t`` steps, each on its
    own, so that doubt adds up along a sequence; with ``"mean"`` they are the members' predictions
    of one step from the same state, as in an environment with a penalty that follows the mean.
    Members whose episode has ended are compared no more; the last one has nobody to disagree with.

    Attributes:
        task: Reward and termination.
        dynamics: True or learned.
        propagation: ``"members"``, ``"mean"`` or ``"sampled"``.
        shaping: What is added to the return for planning's sake alone, or ``None``.
        penalty: Reward to subtract per unit of disagreement, in every step.

    Raises:
        ValueError: If an option is unknown or negative, or there is a penalty where no members can
            be compared: one member, true physics, or ``"sampled"``.
    """

    task: Task
    dynamics: Dynamics
    propagation: Propagation = "members"
    shaping: Shaping | Upright | None = None
    penalty: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.propagation not in PROPAGATIONS:
            raise ValueError(
                f"propagation must be one of {', '.join(PROPAGATIONS)}, got {self.propagation!r}"
            )
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise ValueError(f"penalty must be finite and not negative, got {self.penalty!r}")
        if not self.penalty:
            return
        if self.propagation == "sampled":
            raise ValueError(
                f"penalty={self.penalty:g} compares members, and with propagation='sampled' each "
                "candidate follows one: use 'members' or 'mean', or penalty=0"
            )
        if not isinstance(self.dynamics, DoubtfulDynamics) or self.dynamics.members < 2:
            raise ValueError(
                f"penalty={self.penalty:g} needs a dynamics of several members, and this "
                f"{type(self.dynamics).__name__} has none to compare: fit a simulator with "
                "ensemble_size=2 or more, or use penalty=0"
            )

    def __call__(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """Returns of all candidates of all problems.

        Args:
            agents: ``[p]``.
            states: ``[p, d]`` (or ``[p, l, d]``).
            actions: ``[p, k, h]`` integers or ``[p, k, h, a]``.

        Returns:
            ``[p, k]``.
        """
        problems, candidates = actions.shape[:2]
        rows = ROWS_AT_ONCE.get(actions.device.type, ROWS_AT_ONCE["cpu"])
        at_once = max(1, rows // candidates)
        pieces = [
            self._returns(
                agents[i : i + at_once], states[i : i + at_once], actions[i : i + at_once]
            )
            for i in range(0, problems, at_once)
        ]
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    @torch.no_grad()
    def _returns(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        problems, candidates, h = actions.shape[:3]
        latest = states if self.dynamics.lag == 1 else states[:, -1]
        before = latest[None, :, None]  # [1, p, 1, d]
        steps = unroll(self.dynamics, agents, states, actions, self.propagation)
        obs = next(steps)
        tally = _Tally.begin(obs.shape[0], problems, candidates, obs)
        bonus = self.shaping if isinstance(self.shaping, Shaping) else None
        for t in range(h):
            reward: Tensor = self.task.reward(before, actions[:, :, t], obs)  # type: ignore[assignment]
            ended: Tensor = self.task.terminated(obs)  # type: ignore[assignment]
            if self.penalty:
                reward = reward - self.penalty * self._disagreement(obs, tally.alive)
            if isinstance(self.shaping, Upright):
                reward = reward - self.shaping.cost(obs)
            tally.count(reward, obs, bonus)
            tally.alive &= ~ended
            if t + 1 == h:
                break
            kept = None
            if t % CHECK_EVERY == CHECK_EVERY - 1:
                running = tally.alive.any(dim=0)  # [p, k]
                longest = int(running.sum(1).max())
                if longest == 0:
                    break
                if longest < WORTH_DROPPING * running.shape[1]:
                    # Those that run come first; a problem with fewer keeps some that are over.
                    kept = running.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
                    kept = kept[:, :longest]
                    tally.keep(kept)
                    actions, obs = _columns(actions, kept, 1), _columns(obs, kept[None], 2)
            before = obs
            obs = steps.send(kept)
        return tally.returns(bonus)

    def _disagreement(self, obs: Tensor, alive: Tensor) -> Tensor:
        """Of the members that run, ``[p, k]``."""
        assert isinstance(self.dynamics, DoubtfulDynamics)
        # On a processor it is quick to see that all run; elsewhere it is a wait.
        if obs.device.type == "cpu" and bool(alive.all()):
            return self.dynamics.spread(obs)
        count = alive.sum(0).clamp_min_(1)
        runs = alive[..., None]
        middle = torch.where(runs, obs, 0.0).sum(0) / count[..., None]
        # Those that are over stand at the others' mean: they add nothing but to the number.
        return self.dynamics.spread(torch.where(runs, obs, middle)) * (len(alive) / count).sqrt_()


def _columns(values: Tensor, kept: Tensor, axis: int) -> Tensor:
    """Some of the entries along ``axis``; ``kept`` ends with that axis."""
    index = kept.view(*kept.shape, *[1] * (values.ndim - axis - 1))
    return torch.take_along_dim(values, index, axis)


#: How often is looked how many rollouts still run, and the share below which the rest is dropped.
CHECK_EVERY = 5
WORTH_DROPPING = 0.8


@dataclass(slots=True)
class _Tally:
    """What the rollouts of all candidates have earned so far, ``[m, p, k]`` each.

    Candidates whose episode is over may be dropped; what they have earned waits in ``full``.
    """

    total: Tensor
    best: Tensor
    lost: Tensor
    alive: Tensor
    rows: Tensor
    full: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def begin(cls, members: int, problems: int, candidates: int, like: Tensor) -> _Tally:
        shape = (members, problems, candidates)
        device = like.device
        return cls(
            total=torch.zeros(shape, dtype=like.dtype, device=device),
            best=torch.full(shape, -torch.inf, dtype=like.dtype, device=device),
            lost=torch.zeros(shape, dtype=torch.bool, device=device),
            alive=torch.ones(shape, dtype=torch.bool, device=device),
            rows=torch.arange(candidates, device=device).expand(problems, candidates),
        )

    def count(self, reward: Tensor, obs: Tensor, shaping: Shaping | None) -> None:
        checksum = obs.sum(-1)
        bad = (checksum - checksum) != 0  # nan and infinity, minus themselves, are nan
        self.total += torch.where(self.alive, reward, 0.0)
        self.lost |= self.alive & bad
        if shaping is not None:
            value = torch.where(self.alive, obs[..., shaping.coordinate], -torch.inf)
            self.best = torch.maximum(self.best, value)

    def keep(self, candidates: Tensor) -> None:
        self.full = self._gathered()
        self.rows = self.rows.gather(1, candidates)
        for name in ("total", "best", "lost", "alive"):
            setattr(self, name, _columns(getattr(self, name), candidates[None], 2))

    def _gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        parts = (self.total, self.best, self.lost)
        if self.full is None:
            return parts
        for whole, part in zip(self.full, parts, strict=True):
            whole.scatter_(2, self.rows.expand(part.shape), part)
        return self.full

    def returns(self, shaping: Shaping | None) -> Tensor:
        total, best, lost = self._gathered()
        if shaping is not None:
            total = total + shaping.weight * best
        return torch.where(lost | ~torch.isfinite(total), -torch.inf, total).mean(0)


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
    sequence: np.ndarray[Any, Any] = actions.cpu().numpy().reshape(p * k, h, *actions.shape[3:])
    rollout = getattr(dynamics, "rollout", None)
    trace = None if rollout is None else rollout(rows, state, sequence)
    for t in range(h):
        if trace is not None:  # physics that runs whole sequences by itself
            obs = np.ascontiguousarray(trace[:, t])
        else:
            obs = np.ascontiguousarray(dynamics.step(rows, state, sequence[:, t]))
        kept = yield torch.from_numpy(obs).to(actions.device).view(1, p, k, -1)
        if kept is not None:
            first = torch.arange(p, device=kept.device)[:, None] * k
            chosen = (first + kept).flatten().cpu().numpy()
            k = kept.shape[1]
            rows, state, obs, sequence = (part[chosen] for part in (rows, state, obs, sequence))
            trace = None if trace is None else trace[chosen]
        state = obs if dynamics.lag == 1 else np.concatenate([state[:, 1:], obs[:, None]], axis=1)
