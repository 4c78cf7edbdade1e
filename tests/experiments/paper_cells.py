"""Cells of the paper's benchmark that take a second at most, and the data they share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.row_files import Row

#: A closed form so small that it is there in half a second.
TINY_FIT = (("degree", 2), ("rank", 2), ("rounds", 20), ("threshold", 0.0))


def tiny(experiment: str = "prediction", **changes: Any) -> Cell:
    """A cell of PerSim on 25 CartPoles."""
    fields: dict[str, Any] = {
        "task": "cartpole", "dataset": "random", "method": "persim", "train_agents": 25,
        "episodes": 2, "agents": (0, 1), "fit": TINY_FIT,
    }  # fmt: skip
    if experiment == "reward":
        fields["max_episode_steps"] = 5
    if experiment == "unseen":
        fields["agents"] = (30, 31)
    return Cell(experiment=experiment, **{**fields, **changes})


def quick(seed: int = 0, **changes: Any) -> Cell:
    """A cell that learns nothing and is done in a moment."""
    fields: dict[str, Any] = {"method": "persistence", "dataset": None, "fit": (), "episodes": 1}
    return tiny(seed=seed, **{**fields, **changes})


def row_of(cell: Cell, **changes: Any) -> Row:
    """A row that no run has made."""
    fields: dict[str, Any] = {
        "results": {"families": {"a": [1.5, None]}}, "seconds": {"run": 0.5},
        "versions": {"python": "3"}, "machine": {"cores": 2},
        "finished": "2025-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Row(cell, **{**fields, **changes})


class TrueRollout:
    """The true dynamics as a predictor.

    Args:
        dynamics: The truth.
    """

    lag = 1

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics

    def rollout(self, agents: Any, obs: Any, actions: Any) -> NDArray[np.float64]:
        """Predictions ``[1, n, h, d]``."""
        now, seen = np.asarray(obs, dtype=np.float64), []
        for step in range(actions.shape[1]):
            now = np.asarray(self.dynamics.step(agents, now, actions[:, step]))
            seen.append(now)
        return np.stack(seen, axis=1)[None]
