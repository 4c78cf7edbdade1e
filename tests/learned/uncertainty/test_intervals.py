"""Predictive intervals hold as much as they claim on fresh episodes."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned.uncertainty.intervals import LEVELS, Intervals
from tests.learned.noisy_worlds import WORLDS, fitted, inside


@pytest.mark.slow
@pytest.mark.parametrize("name", ["process", "observations", "both", "heavy tails"])
def test_intervals_hold_what_they_claim(name: str) -> None:
    world, sim = WORLDS[name], fitted(name)
    for steps in (1, 7, 40):
        for of in ("observation", "state"):
            assert 0.91 < inside(sim, world, of, 0.95, steps) < 0.985, (steps, of)
        assert 0.73 < inside(sim, world, "observation", 0.8, steps) < 0.87
    assert 0.96 < inside(sim, world, "observation", 0.99, 7) <= 1.0


def test_width_grows_with_disagreement_and_off_the_known_steps() -> None:
    steps, d = np.array([1.0, 10.0]), 1
    quantiles = np.linspace(0.7, 2.6, len(LEVELS)) * np.ones((2, d, 1))
    found = Intervals(steps, np.array([[0.1], [0.2]]), quantiles, np.zeros(d), np.zeros(d))
    calm = np.zeros((3, 1, 40, d))
    torn = calm + np.array([-1.0, 0.0, 1.0])[:, None, None, None]
    width = found.around(calm, 0.95, False)[1][0, :, 0]
    assert (np.diff(width) > 0).all()
    assert width[9] == pytest.approx(2 * width[0])
    assert (found.around(torn, 0.95, False)[1][0, :, 0] > 5 * width[:1]).all()
    levels = [found.around(calm, level, False)[1][0, 0, 0] for level in (0.3, 0.5, 0.93, 0.999)]
    assert (np.diff(levels) > 0).all()


def test_coordinates_that_go_round_are_averaged_the_short_way() -> None:
    turn = np.array([2 * np.pi])
    one = np.ones((1, 1))
    found = Intervals(np.ones(1), one, np.ones((1, 1, len(LEVELS))), np.zeros(1), turn)
    members = np.array([3.1, -3.1]).reshape(2, 1, 1, 1)
    centre, width = found.around(members, 0.9, False)
    assert abs(centre[0, 0, 0]) == pytest.approx(np.pi)
    assert width[0, 0, 0] < 1.01
