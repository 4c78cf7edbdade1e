"""Predicted courses beside what was: errors the short way round, and what intervals hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.references import Persistence
from persim_gym.evaluation.validation.courses import LEVELS, Courses, follow_courses
from persim_gym.evaluation.validation.models import PERSISTENCE, SIMULATOR, Asked, Models
from persim_gym.evaluation.validation.splits import make_split
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions


def courses(true: Any, predicted: Any, low: Any, high: Any, turn: float = 0.0) -> Courses:
    """Of one coordinate, a prediction of one step each."""
    true, predicted, low, high = (np.reshape(x, (-1, 1, 1)) for x in (true, predicted, low, high))
    n = len(true)
    return Courses(
        np.zeros(n, int), np.zeros((n, 1)), np.ones((n, 1), bool), true, {SIMULATOR: predicted},
        {0.95: (low, high)}, np.array([turn]),
    )  # fmt: skip


def test_an_error_goes_the_short_way_round() -> None:
    found = courses([350.0, 10.0], [10.0, 350.0], [0.0] * 2, [0.0] * 2, turn=360.0)
    assert found.error(SIMULATOR).ravel().tolist() == [20.0, -20.0]
    plain = courses([350.0, 10.0], [10.0, 350.0], [0.0] * 2, [0.0] * 2)
    assert plain.error(SIMULATOR).ravel().tolist() == [-340.0, 340.0]


def test_what_is_lost_is_an_endless_error_and_what_is_not_known_none() -> None:
    found = courses([1.0, 1.0], [np.inf, np.nan], [0.0] * 2, [0.0] * 2).error(SIMULATOR).ravel()
    assert found[0] == np.inf
    assert np.isnan(found[1])


def test_an_interval_may_go_over_the_turn() -> None:
    true, low, high = [355.0, 5.0, 20.0], [350.0] * 3, [370.0] * 3
    turning, straight = (courses(true, true, low, high, turn) for turn in (360.0, 0.0))
    assert turning.inside(0.95).ravel().tolist() == [True, True, False]
    assert straight.inside(0.95).ravel().tolist() == [True, False, False]


def test_what_a_split_has_kept_is_predicted_beside_what_was(sim: PerSim, data: Transitions) -> None:
    split = make_split("ends", data)
    own = np.arange(data.num_agents)
    own[3] = -1
    fewer = own.copy()
    fewer[5] = -1
    models = Models(sim, {SIMULATOR: Asked(sim, own), PERSISTENCE: Asked(Persistence(), fewer)})
    found = follow_courses(data, split, models, 5, np.zeros(2))
    assert 3 not in found.agent
    others = data.agent[split.start] != 3
    rows, length = split.start[others], split.length[others]
    np.testing.assert_array_equal(found.first, data.obs[rows])
    np.testing.assert_array_equal(found.true[:, 0], data.next_obs[rows])
    still = np.repeat(found.first[:, None], 5, axis=1)
    still[found.agent == 5] = np.nan
    np.testing.assert_array_equal(found.predicted[PERSISTENCE], still)
    assert found.valid.sum(1).tolist() == np.minimum(length, 5).tolist()
    assert set(found.intervals) == set(LEVELS)
    width = [float((high - low).mean()) for low, high in found.intervals.values()]
    assert width == sorted(width)
    mean = np.asarray(sim.rollout(found.agent, found.first, data.action[rows][:, None])).mean(0)
    np.testing.assert_allclose(found.predicted[SIMULATOR][:, 0], mean[:, 0], rtol=1e-5)


def test_of_no_known_agent_nothing_is_predicted(sim: PerSim, data: Transitions) -> None:
    nobody = np.full(data.num_agents, -1)
    models = Models(sim, {SIMULATOR: Asked(sim, nobody)})
    with pytest.raises(ValueError, match="none is known to the simulator"):
        follow_courses(data, make_split("ends", data), models, 5, np.zeros(2))


def test_without_known_errors_there_are_no_intervals(sim: PerSim, data: Transitions) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise ValueError("nothing is known of its errors")

    own = np.arange(data.num_agents)
    bare: Any = SimpleNamespace(states_of=sim.states_of, rollout_interval=unknown)
    models = Models(bare, {SIMULATOR: Asked(sim, own)})
    assert follow_courses(data, make_split("ends", data), models, 2, np.zeros(2)).intervals == {}
