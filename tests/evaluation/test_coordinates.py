"""Errors by coordinate: no number adds units, and few columns show many coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.coordinates import (
    MOST_ALONE,
    coordinate_groups,
    grouped_rmse,
    headline_of,
    rmse_meaning,
    unit_of,
    with_unit,
)


@pytest.mark.parametrize("task", SUITES)
def test_columns_hold_every_coordinate_once_and_one_unit_each(task: str) -> None:
    names = SUITES[task].coordinates
    groups = coordinate_groups(names)
    assert sorted(i for group in groups for i in group.members) == list(range(len(names)))
    assert len({group.title for group in groups}) == len(groups) <= MOST_ALONE
    for group in groups:
        (unit,) = {unit_of(names[i]) for i in group.members}
        assert unit in group.title
    assert headline_of(task) in names


def test_few_coordinates_stay_alone() -> None:
    names = SUITES["cartpole"].coordinates
    errors = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    found = grouped_rmse(errors, names)
    assert list(found) == list(names)
    np.testing.assert_array_equal(found["angle (rad)"], [3.0, 7.0])


def test_many_coordinates_of_a_unit_are_the_root_of_their_mean_square() -> None:
    names = [*(f"v{i} (m/s)" for i in range(5)), "height (m)", "a", "b"]
    found = grouped_rmse(np.array([3.0, 4.0, 0.0, 0.0, 0.0, 7.0, 1.0, 1.0]), names)
    assert list(found) == ["5 of unit m/s", "height (m)", "2 without unit"]
    assert found["5 of unit m/s"] == pytest.approx(5**0.5)
    assert [float(found[name]) for name in ("height (m)", "2 without unit")] == [7.0, 1.0]


def test_infinite_and_unknown_errors_stay_so() -> None:
    found = grouped_rmse(np.array([np.inf, np.nan]), ("a (m)", "b (s)"))
    assert found["a (m)"] == np.inf
    assert np.isnan(found["b (s)"])


def test_words() -> None:
    assert with_unit("0.2", "angle (rad)") == "0.2 rad"
    assert with_unit("0.2", "position") == "0.2"
    assert headline_of("cartpole") == "angle (rad)"
    assert "MountainCar: no units" in rmse_meaning("mountain-car", "cartpole")
    assert "HalfCheetah has 18 coordinates" in rmse_meaning("half-cheetah")
    assert "18" not in rmse_meaning("cartpole")
