"""What a planner maximises: the return of action sequences, for many problems at once."""

from __future__ import annotations

from collections.abc import Iterator
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
    ) -> Iterator[Tensor]:
        """Step by step ``[m, p, k, d]``, for actions ``[p, k, h(, a)]`` of ``p`` problems."""


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
        total: Tensor | None = None
        latest = states if self.dynamics.lag == 1 else states[:, -1]
        before = latest[None, :, None]  # [1, p, 1, d]
        h = actions.shape[2]
        for t, obs in enumerate(unroll(self.dynamics, agents, states, actions, self.propagation)):
            action = actions[:, :, t]
            reward: Tensor = self.task.reward(before, action, obs)  # type: ignore[assignment]
            ended: Tensor = self.task.terminated(obs)  # type: ignore[assignment]
            checksum = obs.sum(-1)
            bad = (checksum - checksum) != 0  # nan and infinity, minus themselves, are nan
            if total is None:
                alive = torch.ones_like(ended)
                total = torch.zeros_like(checksum)
                lost = torch.zeros_like(ended)
                best = torch.full_like(checksum, -torch.inf)
            total += torch.where(alive, reward, 0.0)
            lost |= alive & bad
            if self.shaping is not None:
                value = torch.where(alive, obs[..., self.shaping.coordinate], -torch.inf)
                best = torch.maximum(best, value)
            alive &= ~ended
            before = obs
            if t % 8 == 7 and t + 1 < h and not alive.any():
                break
        assert total is not None
        if self.shaping is not None:
            total += self.shaping.weight * best
        total = torch.where(lost | ~torch.isfinite(total), -torch.inf, total)
        return total.mean(0)


def unroll(
    dynamics: Dynamics, agents: Tensor, states: Tensor, actions: Tensor, mode: Propagation
) -> Iterator[Tensor]:
    """Unroll any dynamics: ``[m, p, k, d]`` for each step, with one member where it has but one."""
    if isinstance(dynamics, UnrollingDynamics):
        yield from dynamics.unroll(agents, states, actions, mode)
        return
    p, k, h = actions.shape[:3]
    rows = np.repeat(agents.cpu().numpy(), k)
    state = states.cpu().numpy().astype(np.float64).repeat(k, axis=0)
    sequence: np.ndarray[Any, Any] = actions.cpu().numpy().reshape(p * k, h, *actions.shape[3:])
    rollout = getattr(dynamics, "rollout", None)
    if rollout is not None:  # physics that runs whole sequences by itself
        trace = rollout(rows, state, sequence)
        for t in range(h):
            yield torch.from_numpy(trace[:, t]).to(actions.device).view(1, p, k, -1)
        return
    for t in range(h):
        obs = np.ascontiguousarray(dynamics.step(rows, state, sequence[:, t]))
        yield torch.from_numpy(obs).to(actions.device).view(1, p, k, -1)
        state = obs if dynamics.lag == 1 else np.concatenate([state[:, 1:], obs[:, None]], axis=1)
