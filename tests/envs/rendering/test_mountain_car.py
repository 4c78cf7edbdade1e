"""The picture of MountainCar."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.envs.rendering import make_renderer
from persim_gym.envs.rendering.mountain_car import _hill, _placed, _slope


def red_of_the_car(position: float) -> tuple[float, float]:
    """Where the middle of the car's body is in the picture: column and row."""
    frame = make_renderer("mountain-car").draw(np.array([position, 0.0]), {}).astype(int)
    rows, columns = np.nonzero((frame[..., 0] - frame[..., 2]) > 100)
    gold = frame[rows, columns, 1] > 140  # the flag
    return float(columns[~gold].mean()), float(rows[~gold].mean())


def test_the_car_stands_where_it_is_and_as_high_as_the_hill() -> None:
    bottom, left = red_of_the_car(-math.pi / 6), red_of_the_car(-1.0)
    assert bottom[0] - left[0] == pytest.approx(300 * (1.0 - math.pi / 6), abs=20)
    assert bottom[1] - left[1] == pytest.approx(300 * (_hill(-1.0) - _hill(-math.pi / 6)), abs=20)


def test_the_slope_is_that_of_the_hill() -> None:
    for x in (-1.0, -0.5, 0.0, 0.5):
        assert (_hill(x + 1e-6) - _hill(x - 1e-6)) / 2e-6 == pytest.approx(_slope(x), abs=1e-6)


def test_a_shape_is_turned_counterclockwise_and_moved() -> None:
    placed = _placed([(1.0, 0.0), (0.0, 2.0)], np.array([10.0, 20.0]), math.pi / 2)
    np.testing.assert_allclose(placed, [[10.0, 21.0], [8.0, 20.0]])
