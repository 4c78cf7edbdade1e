"""Data with two strategies: each does what it does by half, and one of them is worth more."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask

#: Given to fits: to learn a task from data takes longer than all of a small fit.
TWO_WAYS = PlainTask(
    name="two-ways",
    observation_space=Box(-np.inf, np.inf, (2,), dtype=np.float32),
    action_space=Box(-2, 2, (1,), dtype=np.float32),
)


def two_ways(rows: int = 600, *, agents: int = 1, seed: int = 0, worth: float = 1.0) -> Transitions:
    """Episodes of one step: actions are about ``1 + x / 4`` or ``-1 + x / 4``, both as often.

    The second way is worth 0, the first one ``worth``. Actions may be from -2 to 2.
    """
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    way = rng.choice([-1.0, 1.0], size=rows)
    action = np.clip(way + obs[:, 0] / 4 + 0.05 * rng.normal(size=rows), -2, 2)
    every: dict[str, Any] = {"terminated": np.ones(rows, bool), "truncated": np.zeros(rows, bool)}
    return Transitions(
        agent=np.sort(rng.integers(agents, size=rows)),
        obs=obs,
        action=action[:, None].astype(np.float32),
        next_obs=obs + 0.1 * action[:, None].astype(np.float32),
        reward=np.where(way > 0, worth, 0.0),
        episode=np.arange(rows),
        num_agents=agents,
        task_name="two-ways",
        **every,
    )


#: Fits of a second, which learn both ways, and of a moment, which learn nothing.
SMALL: dict[str, Any] = {
    "widths": (48, 24),
    "updates": 600,
    "batch_size": 128,
    "learning_rate": 3e-3,
    "critic_hidden": (32,),
    "critic_updates": 200,
    "critic_batch_size": 128,
    "critic_learning_rate": 3e-3,
    "planned": 4,
    "candidates": 8,
    "progress": False,
    "task": TWO_WAYS,
}


TINY = SMALL | {"updates": 10, "critic_updates": 10, "widths": (8, 4), "batch_size": 16}
