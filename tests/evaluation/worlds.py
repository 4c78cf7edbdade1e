"""A world that drifts, predictors that are off by known amounts, and a small real simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.episodes import Episodes, follow
from persim_gym.offline.transitions import Transitions


@dataclass(frozen=True)
class DriftTask:
    """The first coordinate walks; the episode ends when it is beyond a line; starts are whole."""

    line: float = math.inf
    name: str = "drift"
    observation_space: Box = field(
        default_factory=lambda: Box(-np.inf, np.inf, (2,), dtype=np.float32)
    )
    action_space: Discrete = field(default_factory=lambda: Discrete(3))
    max_episode_steps: int = 100
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        """What was walked."""
        return next_obs[..., 0] - obs[..., 0]

    def terminated(self, next_obs: Any) -> Any:
        """Beyond the line."""
        return next_obs[..., 0] > self.line

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first coordinate 0, the second anything."""
        return np.stack([np.zeros(n), rng.integers(0, 1000, n)], axis=1).astype(np.float64)


class DriftDynamics:
    """Agent k walks k + 1 a step; the second coordinate adds up the actions."""

    lag = 1
    num_agents = 4

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        """Walk, and add."""
        return states + np.stack([np.asarray(agents) + 1.0, actions], axis=1)


class Off:
    """The drifting world's true future plus, for each member, an error.

    Args:
        errors: Of each member ``[m, h, d]`` (or what can be broadcast to it).
        lag: Observations in a state.
    """

    def __init__(self, errors: Any, lag: int = 1) -> None:
        self.errors = np.asarray(errors, dtype=np.float64)
        self.lag = lag
        self.asked: list[tuple[Any, Any, Any]] = []

    def rollout(self, agents: Any, obs: Any, actions: Any) -> NDArray[np.float64]:
        """Predictions ``[m, n, h, d]``."""
        self.asked.append((agents.copy(), obs.copy(), actions.copy()))
        now = (obs if self.lag == 1 else obs[:, -1]).astype(np.float64)
        true = np.empty((len(now), actions.shape[1], 2))
        for t in range(actions.shape[1]):
            now = DriftDynamics().step(agents, now, actions[:, t])
            true[:, t] = now
        m, h = len(self.errors), true.shape[1]
        return true + np.broadcast_to(self.errors, (m, h, 2))[:, None]


def drift(line: float = math.inf, **options: Any) -> Episodes:
    """Episodes of agents 0 and 2 in the drifting world."""
    options = {"episodes": 3, "warmup": 10, "horizon": 50, **options}
    return follow(DriftTask(line), DriftDynamics(), [0, 2], count_up, **options)


def count_up(obs: NDArray[Any]) -> NDArray[np.int64]:
    """A policy that depends on what it sees: the second coordinate modulo 3."""
    return obs[:, 1].astype(np.int64) % 3


def random_transitions(task_name: str, agents: int, steps: int) -> Transitions:
    """One random trajectory of each of the first agents of a small population."""
    suite = find_suite(task_name)
    task = suite.task()
    true = suite.dynamics(suite.population(agents))
    seen = follow(task, true, range(agents), "random", episodes=1, warmup=0, horizon=steps)
    alive = np.arange(steps) < seen.lengths[:, None]
    obs, following = seen.obs[:, :-1][alive], seen.obs[:, 1:][alive]
    action = seen.actions[alive]
    episode = np.repeat(np.arange(agents), seen.lengths)
    return Transitions(
        agent=episode.copy(),
        obs=obs.astype(np.float32),
        action=action if action.ndim == 1 else action.astype(np.float32),
        next_obs=following.astype(np.float32),
        reward=np.asarray(task.reward(obs, action, following), dtype=np.float64),
        terminated=np.asarray(task.terminated(following)),
        truncated=np.zeros(len(obs), dtype=np.bool_),
        episode=episode,
        num_agents=agents,
        task_name=suite.name,
    )
