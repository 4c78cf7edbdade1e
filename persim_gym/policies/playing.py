"""Episodes side by side: for looks at a policy in training, its card, and its agents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.envs.lanes import Lanes, check_actions


def play_returns(
    task: Task, dynamics: Dynamics, policy: Any, agents: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Undiscounted returns ``[n]`` of a policy, an episode a row, each from a start of its own.

    Args:
        task: Reward, termination, start states.
        dynamics: The true one.
        policy: Acts without memory, by ``predict``.
        agents: Whose episodes they are ``[n]``; an agent may stand there many times.
        seed: Seed of the start states.
    """
    n, rng = len(agents), np.random.default_rng(seed)
    lanes = Lanes(task, dynamics, agents, task.max_episode_steps)
    running = np.arange(n)
    lanes.begin(running, task.sample_start(rng, n), rng)
    returns = np.zeros(n)
    while len(running):
        obs = lanes.obs[running].astype(np.float32)
        actions = check_actions(task, policy.predict(obs)[0], len(running))
        moved = lanes.advance(actions, rng, None if len(running) == n else running)
        returns[running] += moved.reward
        running = running[~(moved.terminated | moved.truncated)]
    return returns
