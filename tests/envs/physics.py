"""States and actions all over what an episode may visit, and dynamics to compare."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from persim_gym.core import Dynamics
from persim_gym.envs import Population, Suite


def rows(suite: Suite, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Agents, states and actions, spread over what an episode may visit."""
    rng = np.random.default_rng(seed)
    agents = rng.integers(500, size=n)
    if suite.name == "mountain-car":
        states = rng.uniform([-1.2, -0.07], [0.6, 0.07], (n, 2))
        return agents, states, rng.integers(3, size=n)
    if suite.name == "cartpole":
        spread = np.array([2.4, 3.0, 0.2, 3.0])
        return agents, rng.uniform(-spread, spread, (n, 4)), rng.integers(2, size=n)
    states = rng.normal(0, 0.2, (n, 18))
    states[:, 1] = 0.3 + 0.2 * rng.random(n)  # in the air and on the ground
    states[:, 9:] *= 5
    return agents, states, rng.uniform(-1, 1, (n, 6))


def one(dynamics: Dynamics, agent: int, state: object, action: object) -> np.ndarray:
    return dynamics.step(np.array([agent]), np.array([state]), np.array([action]))[0]


def default_dynamics(suite: Suite) -> Dynamics:
    return suite.dynamics(Population.single(suite.covariates, {}))


def gymnasium_cheetah() -> gym.Env:
    return gym.make("HalfCheetah-v5").unwrapped
