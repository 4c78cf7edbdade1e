"""Scores beside numbers counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from persim_gym.evaluation.validation import Validation, validate
from persim_gym.evaluation.validation.courses import Courses
from persim_gym.evaluation.validation.scores import Known, score
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import FIT, patients, scores


def test_coverage_and_errors_are_those_counted_by_hand(sim: PerSim, data: Transitions) -> None:
    longer = patients(12, 60, noise=0.2)
    new = longer.select(longer.step >= 45)
    (split,) = sim.validate(new, horizons=(4,)).splits
    assert split.scores is not None
    hits, errors, count = [], [], 0
    for agent in range(12):
        rows = np.flatnonzero(new.agent == agent)
        # Six starts of fifteen steps: every third.
        for first in rows[::3]:
            if first + 4 > rows[-1] + 1:
                continue
            count += 1
            ahead = slice(first, first + 4)
            asked = ([agent], new.obs[[first]], new.action[None, ahead])
            low, high = sim.rollout_interval(*asked, level=0.95)
            truth = new.next_obs[first + 3]
            hits.append((truth >= low[0, 3]) & (truth <= high[0, 3]))
            errors.append(sim.rollout(*asked).mean(0)[0, 3] - truth)
    assert split.scores.count.tolist() == [count]
    np.testing.assert_allclose(split.scores.coverage[0.95][0], np.mean(hits, axis=0))
    expected = np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(split.scores.rmse["simulator"][0], expected, rtol=1e-5)


def test_units_are_never_mixed(sim: PerSim, data: Transitions, good: Validation) -> None:
    """A coordinate in other units changes its own numbers by the unit, and no other number."""
    unit = np.array([1.0, 1000.0], dtype=np.float32)
    grams = dataclasses.replace(data, obs=data.obs * unit, next_obs=data.next_obs * unit)
    (split,) = validate(grams, horizons=(1, 5), **FIT).splits
    own, other = good.splits[0].scores, split.scores
    assert own is not None
    assert other is not None
    np.testing.assert_allclose(other.rmse["persistence"], own.rmse["persistence"] * unit, rtol=1e-4)
    np.testing.assert_allclose(other.scaled("persistence"), own.scaled("persistence"), rtol=1e-4)
    np.testing.assert_allclose(other.r2, own.r2, atol=0.02)


def two_courses() -> Courses:
    """Of one coordinate, two steps; the second course of agent 1 has one step."""
    true = np.array([[[1.0], [2.0]], [[3.0], [0.0]]])
    predicted = {"simulator": true + np.array([[[1.0], [2.0]], [[3.0], [99.0]]])}
    ends = (true - 1.0, true + np.array([[[1.0], [1.0]], [[-0.5], [1.0]]]))
    return Courses(
        np.array([0, 1]), np.zeros((2, 1)), np.array([[True, True], [True, False]]), true,
        predicted, {0.95: ends}, np.zeros(1),
    )  # fmt: skip


KNOWN = Known(np.zeros((2, 1)), np.array([2.0]), np.array([0.0]), np.array([4.0]))


def test_what_was_not_recorded_counts_nowhere() -> None:
    found = score(two_courses(), (1, 2), KNOWN)
    assert found.count.tolist() == [2, 1]
    assert found.agent_count.tolist() == [[1, 1], [1, 0]]
    np.testing.assert_allclose(found.rmse["simulator"][:, 0], [5**0.5, 2.0])
    np.testing.assert_allclose(found.agent_rmse["simulator"][..., 0], [[1, 2], [3, np.nan]])
    np.testing.assert_allclose(found.course_rmse["simulator"][:, 0], [2.5**0.5, 3.0])
    np.testing.assert_allclose(found.scaled("simulator"), [2.5**0.5 / 2, 1.5])
    # Beside the mean, which is 0 for both: squares of 1 and 9, then of 2.
    np.testing.assert_allclose(found.r2[:, 0], [1 - 5 / 5, 1 - 4 / 4])
    assert found.coverage[0.95][:, 0].tolist() == [0.5, 1.0]
    np.testing.assert_allclose(found.width[0.95][:, 0], [(2.0 + 0.5) / 2, 2.0])
    np.testing.assert_allclose(found.outside, [1 / 3])  # 2 and 4 are inside, 6 is not
    assert found.true_outside.tolist() == [0.0]


def test_skill_is_beside_a_reference_that_makes_errors() -> None:
    own = scores(1.0, still=2.0)
    np.testing.assert_allclose(own.skill("persistence"), 0.75)
    exact = dataclasses.replace(own, rmse={**own.rmse, "pooled": np.zeros((2, 2))})
    assert np.isnan(exact.skill("pooled")).all()


def test_a_coordinate_that_never_changed_is_in_no_common_number() -> None:
    own = dataclasses.replace(scores(), deviation=np.array([5.0, 1e-9]))
    assert own.constant.tolist() == [False, True]
    np.testing.assert_allclose(own.scaled("simulator"), 0.2)
    still = dataclasses.replace(own, deviation=np.zeros(2))
    assert still.scaled("simulator").tolist() == [0.0] * 3


def test_an_agent_without_observations_has_the_common_mean() -> None:
    obs = np.array([[1.0], [3.0], [8.0]], dtype=np.float32)
    known = Known.of(np.array([0, 0, 2]), obs, 3)
    assert known.mean.ravel().tolist() == [2.0, 4.0, 8.0]
    assert (known.low.tolist(), known.high.tolist()) == ([1.0], [8.0])
    np.testing.assert_allclose(known.deviation, obs.std(0))
