"""Predicted courses of what was kept from a fit, beside what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.references import Remembering
from persim_gym.evaluation.validation.models import SIMULATOR, Asked, Models
from persim_gym.evaluation.validation.splits import Split
from persim_gym.learned.circular import short_way
from persim_gym.learned.uncertainty.intervals import middle
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Levels of the intervals that are judged.
LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Courses:
    """``n`` predictions of ``H`` steps, in the data's units.

    Attributes:
        agent: Whose, as indices of the data ``[n]``.
        first: The observations that they begin at ``[n, d]``.
        valid: Which steps were recorded ``[n, H]``.
        true: What was ``[n, H, d]``.
        predicted: By model ``[n, H, d]``, the members' mean.
        intervals: Lower and upper ends by level ``[n, H, d]``; empty where there are none.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
    """

    agent: NDArray[np.int64]
    first: Floats
    valid: NDArray[np.bool_]
    true: Floats
    predicted: Mapping[str, Floats]
    intervals: Mapping[float, tuple[Floats, Floats]]
    turn: Floats

    def error(self, model: str) -> Floats:
        """Prediction less truth ``[n, H, d]``: ``inf`` for a prediction that is not finite.

        ``nan`` where the model does not know the agent.
        """
        predicted = self.predicted[model]
        lost = np.isinf(predicted)
        away = short_way(np.where(lost, 0.0, predicted) - self.true, self.turn)
        return np.where(lost, np.inf, away)

    def inside(self, level: float) -> NDArray[np.bool_]:
        """Whether what was lies in its interval ``[n, H, d]``."""
        low, high = self.intervals[level]
        straight = (self.true >= low) & (self.true <= high)
        if not self.turn.any():
            return np.asarray(straight)
        away = short_way(self.true - 0.5 * (low + high), self.turn)
        return np.where(self.turn > 0, np.abs(away) <= 0.5 * (high - low), straight)


def follow_courses(
    data: Transitions, split: Split, models: Models, most: int, turn: Floats
) -> Courses:
    """Predict what a split has kept, by all models.

    Args:
        data: All data.
        split: What is predicted.
        models: What predicts.
        most: Steps.
        turn: Full turns ``[d]``.

    Raises:
        ValueError: If none of the agents is known to the simulator.
    """
    agent = data.agent[split.start]
    known = models.asked[SIMULATOR].agents[agent] >= 0
    start, length, agent = split.start[known], split.length[known], agent[known]
    if not len(start):
        raise ValueError("of the agents that are kept from the fit, none is known to the simulator")
    rows = start[:, None] + np.minimum(np.arange(most), length[:, None] - 1)
    actions = data.action[rows]
    predicted = {
        name: _mean(asked, data, start, agent, actions, turn)
        for name, asked in models.asked.items()
    }
    sim, own = models.sim, models.asked[SIMULATOR].agents[agent]
    intervals: dict[float, tuple[Floats, Floats]] = {}
    try:
        states = sim.states_of(data)[start]
        for level in LEVELS:
            ends = sim.rollout_interval(own, states, actions, level=level)
            intervals[level] = tuple(np.asarray(e, dtype=np.float64) for e in ends)  # type: ignore[assignment]
    except ValueError:  # nothing is known of the simulator's errors
        intervals = {}
    return Courses(
        agent,
        data.obs[start].astype(np.float64),
        length[:, None] > np.arange(most),
        data.next_obs[rows].astype(np.float64),
        predicted,
        intervals,
        turn,
    )


def _mean(
    asked: Asked,
    data: Transitions,
    start: NDArray[np.int64],
    agent: NDArray[np.int64],
    actions: NDArray[np.generic],
    turn: Floats,
) -> Floats:
    """A model's predictions ``[n, H, d]``, ``nan`` for agents that it does not know."""
    model, own = asked.model, asked.agents[agent]
    states = model.states_of(data) if isinstance(model, Remembering) else data.obs
    members = np.asarray(model.rollout(np.maximum(own, 0), states[start], actions), np.float64)
    lost = ~np.isfinite(members).all(axis=0)
    mean, _ = middle(np.where(lost, 0.0, members), turn)
    found: Floats = np.where(lost, np.inf, mean)
    found[own < 0] = np.nan
    return found
