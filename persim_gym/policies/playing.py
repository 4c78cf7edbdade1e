"""Playing one agent's episodes side by side, for looks at a policy in training and for its card."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.envs.lanes import Lanes, check_actions


def play_returns(
    task: Task, dynamics: Dynamics, policy: Any, episodes: int, seed: int, agent: int = 0
) -> NDArray[np.float64]:
    """Undiscounted returns ``[episodes]`` of a policy with one agent, all episodes side by side."""
    rng = np.random.default_rng(seed)
    lanes = Lanes(task, dynamics, np.full(episodes, agent), task.max_episode_steps)
    running = np.arange(episodes)
    lanes.begin(running, task.sample_start(rng, episodes), rng)
    returns = np.zeros(episodes)
    while len(running):
        obs = lanes.obs[running].astype(np.float32)
        actions = check_actions(task, policy.predict(obs)[0], len(running))
        moved = lanes.advance(actions, rng, None if len(running) == episodes else running)
        returns[running] += moved.reward
        running = running[~(moved.terminated | moved.truncated)]
    return returns
