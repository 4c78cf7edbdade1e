"""Dynamics whose returns can be worked out by hand, and the loop that works them out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.planning import Shaping
from tests.learned.worlds import PlainTask


class Line:
    """One coordinate; agent ``k`` goes ``strides[k] * (action - 1)``. Physics with ``step`` alone.

    Also counts its rows, and can be poisoned: from ``x >= poison_at`` on the next state is
    ``poison``.
    """

    def __init__(
        self,
        strides: tuple[float, ...] = (0.25, -0.25, 0.5),
        poison: float = 0.0,
        poison_at: float = math.inf,
    ) -> None:
        self.strides = np.array(strides)
        self.num_agents = len(strides)
        self.lag = 1
        self.poison, self.poison_at = poison, poison_at
        self.calls: list[int] = []

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        self.calls.append(len(agents))
        x = np.asarray(states)[:, 0] + self.strides[agents] * (np.asarray(actions) - 1)
        return np.where(x >= self.poison_at, self.poison, x)[:, None]


class Memory:
    """Two coordinates, lag 2: the walk goes on by half of its last change. Actions 0 to 2."""

    lag = 2
    num_agents = 3

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        change = states[:, 1] - states[:, 0]
        push = 0.1 * (np.asarray(agents) + 1) * (np.asarray(actions) - 1)
        return states[:, 1] + 0.5 * change + push[:, None]


class Members:
    """An ensemble that unrolls by itself: member ``i`` adds ``offsets[i]`` in every step."""

    lag = 1
    num_agents = 2

    def __init__(self, *offsets: float) -> None:
        self.offsets = torch.tensor(offsets)

    def step(self, agents: Any, states: Any, actions: Any) -> Any:
        raise AssertionError("an ensemble is unrolled")

    @property
    def members(self) -> int:
        return len(self.offsets)

    def disagreement_of(self, predictions: torch.Tensor) -> torch.Tensor:
        """In units of a half."""
        return 2.0 * (predictions - predictions.mean(0)).square().mean(dim=(0, -1)).sqrt()

    def unroll(self, agents: Any, states: Any, actions: Any, mode: str) -> Iterator[torch.Tensor]:
        p, k, h = actions.shape
        if mode == "sampled":
            offsets = self.offsets[torch.arange(k) % self.members]
            x = states[None, :, None].expand(1, p, k, 1)
            for t in range(h):
                x = x + 0.1 * (actions[:, :, t, None] - 1) + offsets[:, None]
                yield x
            return
        x = states[None, :, None].expand(len(self.offsets), p, k, 1)
        for t in range(h):
            x = x + 0.1 * (actions[:, :, t, None] - 1) + self.offsets[:, None, None, None]
            yield x
            if mode == "mean":
                x = x.mean(0, keepdim=True).expand_as(x)


class LineTask(PlainTask):
    """Reward minus the distance from the origin; over from ``goal`` on."""

    goal = 1.0

    def __init__(self, goal: float = 1.0) -> None:
        super().__init__(
            name="line",
            observation_space=Box(-np.inf, np.inf, (1,), dtype=np.float32),
            action_space=Discrete(3),
        )
        object.__setattr__(self, "goal", goal)

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return -abs(next_obs[..., 0])

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] >= self.goal


class ActionTask(LineTask):
    """One point a step for action 2: a reward that no prediction can spoil."""

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return (action == 2) * 1.0


def scalar_return(
    task: Task,
    dynamics: Dynamics,
    agent: int,
    state: NDArray[Any],
    actions: NDArray[Any],
    shaping: Shaping | None = None,
) -> float:
    """The return of one sequence, by a loop over its steps, one row at a time.

    ``state`` is ``[d]``, or ``[l, d]`` where the dynamics has a lag.
    """
    total, best = 0.0, -math.inf
    state = np.asarray(state, dtype=np.float64)
    for action in actions:
        following = np.asarray(
            dynamics.step(np.array([agent]), state[None], np.asarray(action)[None])
        )[0]
        latest = state[-1] if dynamics.lag > 1 else state
        total += float(task.reward(latest, action, following))
        if shaping is not None:
            best = max(best, float(following[shaping.coordinate]))
        if task.terminated(following):
            break
        state = np.concatenate([state[1:], following[None]]) if dynamics.lag > 1 else following
    return total + (shaping.weight * best if shaping is not None else 0.0)


def scalar_returns(
    task: Task, dynamics: Dynamics, agents: Any, states: Any, actions: Any, **options: Any
) -> NDArray[np.float64]:
    """The same for all candidates of all problems ``[p, k]``."""
    return np.array(
        [
            [scalar_return(task, dynamics, agents[i], states[i], row, **options) for row in rows]
            for i, rows in enumerate(np.asarray(actions))
        ]
    )
