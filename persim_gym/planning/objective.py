"""What a planner maximises: the return of action sequences, for many problems at once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from persim_gym.core import Array, Dynamics, Task

Propagation = Literal["members", "mean"]

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

        With a single problem, indices of the candidates that go on may be sent back.
        """


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
class Objective:
    """Undiscounted return of action sequences under a task and a dynamics.

    Rewards count up to the step that ends the episode, that step included. With an ensemble the
    return is the members' average. A rollout that leaves the finite numbers before its end is
    worth minus infinity, whatever its rewards.

    Attributes:
        task: Reward and termination.
        dynamics: True or learned.
        propagation: ``"members"``: each member on its own states; ``"mean"``: all on the members'
            mean state.
        shaping: A bonus, or ``None``.
    """

    task: Task
    dynamics: Dynamics
    propagation: Propagation = "members"
    shaping: Shaping | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown way to follow members."""
        if self.propagation not in ("members", "mean"):
            raise ValueError(f"propagation must be one of members, mean, got {self.propagation!r}")

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
        for t in range(h):
            reward: Tensor = self.task.reward(before, actions[:, :, t], obs)  # type: ignore[assignment]
            ended: Tensor = self.task.terminated(obs)  # type: ignore[assignment]
            tally.count(reward, obs, self.shaping)
            tally.alive &= ~ended
            if t + 1 == h:
                break
            kept = None
            if t % CHECK_EVERY == CHECK_EVERY - 1:
                running = tally.alive.any(dim=0)  # [p, k]
                if not running.any():
                    break
                if problems == 1 and int(running.sum()) < WORTH_DROPPING * running.numel():
                    kept = running[0].nonzero()[:, 0]
                    tally.keep(kept)
                    actions, obs = actions[:, kept], obs[:, :, kept]
            before = obs
            obs = steps.send(kept)
        return tally.returns(self.shaping)


#: How often is looked how many rollouts still run, and the share below which the rest is dropped.
CHECK_EVERY = 5
WORTH_DROPPING = 0.8


@dataclass(slots=True)
class _Tally:
    """What the rollouts of all candidates have earned so far, ``[m, p, k]`` each.

    Of a single problem's candidates those whose episode is over may be dropped; what they have
    earned waits in ``full``.
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
            rows=torch.arange(candidates, device=device),
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
        self.rows = self.rows[candidates]
        for name in ("total", "best", "lost", "alive"):
            setattr(self, name, getattr(self, name)[:, :, candidates])

    def _gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        parts = (self.total, self.best, self.lost)
        if self.full is None:
            return parts
        for whole, part in zip(self.full, parts, strict=True):
            whole[:, :, self.rows] = part
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

    With a single problem, indices of the candidates that go on may be sent back.
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
            chosen = kept.cpu().numpy()
            k = len(chosen)
            rows, state, obs, sequence = (part[chosen] for part in (rows, state, obs, sequence))
            trace = None if trace is None else trace[chosen]
        state = obs if dynamics.lag == 1 else np.concatenate([state[:, 1:], obs[:, None]], axis=1)
