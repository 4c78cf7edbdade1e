"""What a fit was worth on a part of the record that it had not seen, coordinate by coordinate.

The comparison of families, or the calibration of intervals, has kept such a part anyway. Families
that take minutes keep nothing: they are judged on what they have seen, and the card says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import (
    Errors,
    Part,
    Predictor,
    Record,
    held_out,
    starts_in,
)
from persim_gym.learned.comparison.score import HORIZONS, sensible_steps
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.fitting.families import Fitted
from persim_gym.learned.fitting.fit import OpenLoop
from persim_gym.learned.fitting.plain_models import RidgeModels
from persim_gym.learned.uncertainty.fading import Fading
from persim_gym.offline.transitions import Transitions

#: Predictions at the most, and transitions that a pooled model is fitted to.
STARTS, ROWS = 2000, 20_000


@dataclass(frozen=True, slots=True)
class _Plain:
    """Persistence, or a pooled polynomial of degree 2, as a predictor of records."""

    model: RidgeModels | None
    width: int

    def rollout(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        obs = np.asarray(states)[:, -self.width :]
        if self.model is None:
            return np.repeat(obs[:, None], actions.shape[1], axis=1)
        return self.model.rollout(np.zeros_like(agents), obs, actions)[0]


def heldout_errors(
    fitted: Fitted, data: Data, record: Record, seed: int, fading: Fading | None = None
) -> dict[str, Any] | None:
    """Errors of a fit at the longest sensible number of steps, beside persistence and pooled.

    Args:
        fitted: The fit, with what was kept from it.
        data: What it was fitted to.
        record: The same, with the states that the fit predicts from.
        seed: Of the fit.
        fading: How its predictions fade, if they do.

    Returns:
        For the card, in plain types and the data's units; ``None`` where nothing can be predicted.
    """
    unseen = fitted.unseen
    held = np.zeros(len(data.transitions), dtype=np.bool_)
    if unseen is not None:
        held[unseen.rows] = True
        ensemble: Ensemble = unseen.ensemble
    else:
        parts = held_out(record, np.random.default_rng([seed, 7]))
        if not parts:
            return None
        held[:] = True
        held[parts[0].rows] = False
        ensemble = fitted.ensemble
    start, length, longest = starts_in(record, held)
    steps = sensible_steps([Part(start, start, length, longest)], HORIZONS)
    if not steps:
        return None
    fewer = np.unique(np.linspace(0, len(start) - 1, STARTS).astype(np.int64))
    part = Part(start[fewer], start[fewer], length[fewer], longest)
    width = data.transitions.obs.shape[1]
    units = np.where(record.unit > 0, record.unit, 1.0)
    own = dataclasses.replace(record, unit=units)
    kept = ~held if unseen is not None else np.ones_like(held)
    predictors: dict[str, Predictor] = {
        "simulator": OpenLoop(dataclasses.replace(fitted, ensemble=ensemble), fading=fading),
        "persistence": _Plain(None, width),
        "pooled": _Plain(_pooled(data, record, kept), width),
    }
    found: dict[str, Any] = {
        "steps": steps[-1],
        "seen": unseen is None,
        "deviation": record.unit.tolist(),
        "rmse": {},
    }
    for name, predictor in predictors.items():
        errors = Errors.of(predictor, part, own, steps[-1:])
        found["predictions"] = int(errors.valid.sum())
        if not found["predictions"]:  # every stretch ends before, or wraps
            return None
        away = errors.left[errors.valid[:, 0], 0] * units
        found["rmse"][name] = np.sqrt(np.square(away).mean(0)).tolist()
    return found


def _pooled(data: Data, record: Record, kept: NDArray[np.bool_]) -> RidgeModels:
    """A polynomial of degree 2 of all agents together."""
    rows = np.flatnonzero(kept)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, ROWS).astype(np.int64))]
    t: Transitions = data.transitions.select(rows)
    alone = dataclasses.replace(
        t, agent=np.zeros_like(t.agent), num_agents=1, agent_names=None, population=None
    )
    turn = np.zeros(t.obs.shape[1])
    for column, period in record.turns.items():
        turn[column] = period
    space = data.task.action_space
    choices = int(space.n) if isinstance(space, Discrete) else 0
    return RidgeModels.fit(alone, turn, choices, degree=2)
