"""Scores with known optima, and a search over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.planning import Plan, Planner

#: Bounds that are neither symmetric nor alike.
BOX = Box(np.float32([-1.0, 2.0]), np.float32([3.0, 2.5]))
LOW, HIGH = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high)
SPAN = HIGH - LOW
THREE = Discrete(3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Recording:
    """A score that keeps what it was asked."""

    def __init__(self, score: Any) -> None:
        self.score = score
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions.clone())
        returns: Tensor = self.score(actions)
        return returns


def plan(
    planner: Planner,
    score: Any,
    space: Discrete | Box = BOX,
    problems: int = 1,
    previous: Tensor | None = None,
    fresh: Any = None,
    seed: int = 0,
) -> Plan:
    fresh = [previous is None] * problems if fresh is None else fresh
    return planner.plan(score, space, problems, previous, torch.tensor(fresh), generator(seed))


def flat(actions: Tensor) -> Tensor:
    """All sequences are worth the same."""
    return torch.zeros(actions.shape[:2])


def lost(actions: Tensor) -> Tensor:
    """All sequences leave the finite numbers."""
    return torch.full(actions.shape[:2], -torch.inf)


def quadratic(target: Tensor) -> Any:
    """Returns highest at ``target`` ``[p, h, a]``, in units of the range of each coordinate."""

    def score(actions: Tensor) -> Tensor:
        return -((actions - target[:, None]) / SPAN).square().sum((-1, -2))

    return score


def scaled(actions: Tensor) -> Tensor:
    """Actions of ``BOX`` in units of half its width, around its middle."""
    return (actions - LOW) / SPAN * 2 - 1


class Regulator:
    """A cart on a line, to be brought to rest at the origin at the least quadratic cost.

    Linear dynamics ``x' = A x + B u`` and reward ``-(q . x'^2 + r u^2)``: the best plan and what
    it is worth are known by Riccati's recursion. Agent ``i`` has its own ``B``.
    """

    lag = 1
    r = 0.3
    weights = np.array([1.0, 0.2])
    A = np.array([[1.0, 0.3], [0.0, 0.9]])
    pushes = (0.3, 0.5, -0.4)
    num_agents = 3

    name = "regulator"
    observation_space = Box(-np.inf, np.inf, (2,), dtype=np.float32)
    action_space = Box(-2.0, 2.0, (1,), dtype=np.float32)
    max_episode_steps = 20
    render_fps = 10
    root_velocity = None

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        moved = np.asarray(states, dtype=np.float64) @ self.A.T
        moved[:, 1] += np.array(self.pushes)[np.asarray(agents)] * np.asarray(actions)[:, 0]
        return moved

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        cost = self.weights[0] * next_obs[..., 0] ** 2 + self.weights[1] * next_obs[..., 1] ** 2
        return -(cost + self.r * action[..., 0] ** 2)

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] > np.inf

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return rng.uniform(-1.0, 1.0, size=(n, 2))

    def best(self, agent: int, state: NDArray[Any], horizon: int) -> tuple[float, float]:
        """The best first action, and what the best plan is worth; bounds left out."""
        b = np.array([[0.0], [self.pushes[agent]]])
        cost = np.diag(self.weights)
        value = cost
        for _ in range(horizon):
            gain = (b.T @ value @ self.A) / (self.r + b.T @ value @ b)
            value = cost + self.A.T @ value @ (self.A - b @ gain)
        return float(-(gain @ state)[0]), float(-(state @ (value - cost) @ state))


def table_score(problems: int, horizon: int, seed: int = 0) -> tuple[Any, Tensor]:
    """A value of its own for every sequence of every problem, without any order to follow."""
    table = torch.rand((problems, 3**horizon), generator=generator(seed), dtype=torch.float64)
    digits = 3 ** torch.arange(horizon)

    def score(actions: Tensor) -> Tensor:
        return table.gather(1, (actions * digits).sum(-1))

    return score, table
