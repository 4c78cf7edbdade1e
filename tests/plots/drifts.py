"""Errors of a model that is off, and of persistence."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import Persistence
from tests.evaluation.worlds import DriftDynamics, DriftTask, Off, count_up


def errors(line: float = np.inf):
    seen = follow(DriftTask(line), DriftDynamics(), [0, 2], count_up, episodes=2)
    model = Off(np.array([[[1.0, 2.0]], [[3.0, 2.0]]]))
    return open_loop_error(model, seen), open_loop_error(Persistence(), seen)
