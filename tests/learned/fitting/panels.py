"""Panels of agents for whole fits."""

from __future__ import annotations

import numpy as np

from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import transitions


def short_panel(steps: int, noise: float = 0.5) -> Transitions:
    """A level of 40 agents that falls to their own mean, seen with noise."""
    rng = np.random.default_rng(0)
    agents = 40
    actions = rng.integers(2, size=(agents, steps))
    level, own = rng.normal(size=(2, agents))
    levels = [level]
    for t in range(steps):
        levels.append(levels[-1] + 0.2 * (own - levels[-1]) + 0.3 * actions[:, t])
    seen = np.stack(levels, 1) + noise * rng.normal(size=(agents, steps + 1))
    return transitions(
        np.repeat(np.arange(agents), steps),
        seen[:, :-1].reshape(-1, 1),
        actions.reshape(-1),
        seen[:, 1:].reshape(-1, 1),
    )
