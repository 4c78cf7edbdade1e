"""Angles in disguise are found, and nothing else is taken for one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned.geometry.geometry import TURN, Angle, Geometry
from persim_gym.learned.geometry.search import find_geometry
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import transitions


def walk(columns: NDArray[np.float64], **options: Any) -> Transitions:
    """One trajectory of observations ``[T + 1, d]``."""
    n = len(columns) - 1
    data = transitions(np.zeros(n, dtype=np.int64), columns[:-1], np.zeros((n, 1)), columns[1:])
    return Transitions(**{f: getattr(data, f) for f in data.__dataclass_fields__} | options)


def turning(steps: int = 600) -> NDArray[np.float64]:
    """An angle that goes round both ways, with changes of up to a quarter of a radian."""
    speed = 0.25 * np.sin(np.linspace(0, 23, steps))
    return np.cumsum(speed) * 3


NOISES = (0.0, 0.001, 0.01, 0.03)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("radius", [1.0, 0.2, 7.0])
def test_a_circle_is_found_wherever_it_stands(noise: float, radius: float) -> None:
    angle = turning()
    rng = np.random.default_rng(0)
    columns = np.stack([np.sin(angle), rng.normal(size=600), 3 + np.cos(angle), np.cos(angle)], 1)
    seen = radius * columns + radius * noise * rng.normal(size=columns.shape)
    found = find_geometry(walk(seen))
    if noise >= 0.01 and radius != 1.0:  # such a ring may be anything
        assert found == Geometry(4)
    else:
        assert [(o.cosine, o.sine) for o in found.circles] == [(0, 3)]
        assert found.circles[0].radius == pytest.approx(radius, rel=0.01)
    declared = find_geometry(walk(seen, circles=((3, 0),)))
    assert [(o.cosine, o.sine) for o in declared.circles] == [(3, 0)]


def test_what_is_no_circle_is_not_taken_for_one() -> None:
    rng = np.random.default_rng(0)
    angle, n = turning(), 600
    cases = {
        "an ellipse": (1.15 * np.cos(angle), 0.9 * np.sin(angle)),
        "a shifted circle": (np.cos(angle) + 0.1, np.sin(angle)),
        "two constants": (np.ones(n), np.zeros(n)),
        "one constant twice": (np.full(n, 0.6), np.full(n, 0.6)),
        "a constant and noise": (np.ones(n), 1e-3 * rng.normal(size=n)),
        "signs": (np.sign(rng.normal(size=n)), 0.01 * rng.normal(size=n)),
        "a cloud": (rng.normal(size=n), rng.normal(size=n)),
        "a growing spiral": (np.cos(angle) * np.linspace(0.6, 1.4, n),
                             np.sin(angle) * np.linspace(0.6, 1.4, n)),
    }  # fmt: skip
    for name, columns in cases.items():
        assert find_geometry(walk(np.stack(columns, 1))) == Geometry(2), name
    with pytest.raises(ValueError, match="must lie near a circle"):
        find_geometry(walk(np.stack(cases["a cloud"], 1), circles=((0, 1),)))


RANGES = {
    "(-pi, pi]": (TURN, -math.pi),
    "[0, 2 pi)": (TURN, 0.0),
    "degrees": (360.0, -180.0),
    "a compass": (360.0, 0.0),
}


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("name", RANGES)
def test_a_wrapped_angle_is_found(name: str, noise: float) -> None:
    turn, low = RANGES[name]
    angle = turning() + noise * np.random.default_rng(0).normal(size=600)
    wrapped = low + np.remainder(angle / TURN * turn - low, turn)
    seen = walk(np.stack([np.arange(600.0), wrapped], 1))
    found = find_geometry(seen)
    assert found.angles == (Angle(1, turn, low),)
    # Declared in radians or with its turn, and by the task, it is the same.
    assert (
        find_geometry(walk(np.stack([np.arange(600.0), wrapped], 1), angles=((1, turn),))) == found
    )
    if turn == TURN:
        assert find_geometry(seen, (1,)) == found
    change = found.difference(torch.as_tensor(seen.obs), torch.as_tensor(seen.next_obs))[:, 1]
    assert change.abs().max() < 0.9


def test_what_does_not_wrap_is_left_as_it_is() -> None:
    rng = np.random.default_rng(0)
    n = 600
    cases = {
        "goes on and on": turning(),
        "does not reach": 2.5 * np.sin(np.linspace(0, 30, n)),
        "jumps anywhere": rng.uniform(-math.pi, math.pi, n),
        "is reset": np.linspace(0, 9, n) % 3.1,
        "two values": np.where(rng.random(n) < 0.5, 0.0, 6.2),
    }
    for name, column in cases.items():
        assert find_geometry(walk(column[:, None])) == Geometry(1), name
    # Declared, it is an angle all the same, and in inner coordinates what it was.
    declared = find_geometry(walk(cases["goes on and on"][:, None], angles=((0, TURN),)))
    assert declared.angles == (Angle(0),)
    assert declared.trivial
    pitch = find_geometry(walk(cases["does not reach"][:, None], angles=((0, 360.0),)))
    assert pitch.angles == (Angle(0, 360.0),)
    assert not pitch.trivial


CLOCKS = {
    "an hour": (1.0, 24.0, 0.0),
    "a weekday": (1.0, 7.0, 1.0),
    "backwards": (-5.0, 60.0, 0.0),
    "a tick that does not divide the turn": (5.0, 24.0, 0.0),
    "a share of the day": (1 / 24, 1.0, 0.0),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_is_an_angle_of_whatever_turn(name: str) -> None:
    tick, turn, least = CLOCKS[name]
    hours = least + np.remainder(3 * tick + tick * np.arange(240), turn)
    seen = walk(np.stack([np.arange(240.0), hours], 1))
    found = find_geometry(seen)
    assert [angle.column for angle in found.angles] == [1]
    assert found.angles[0].period == pytest.approx(turn)
    declared = find_geometry(walk(np.stack([np.arange(240.0), hours], 1), angles=((1, turn),)))
    assert declared.angles[0].period == turn
    before, after = torch.as_tensor(seen.obs), torch.as_tensor(seen.next_obs)
    for geometry in (found, declared):
        change = geometry.difference(before, after)
        expected = torch.full((239,), tick * TURN / turn, dtype=torch.float64)
        torch.testing.assert_close(change[:, 1], expected, atol=1e-5, rtol=0)
        # Single precision cannot take the end of a turn for its beginning.
        inner = geometry.inward(before) + change.float()
        torch.testing.assert_close(geometry.outward(inner), after, atol=1e-4 * turn, rtol=0)


def test_what_is_set_back_is_no_clock() -> None:
    rng, n = np.random.default_rng(0), 240
    rising = np.cumsum(np.ones(n))
    cases = {
        "at any time": rising - np.maximum.accumulate(np.where(rng.random(n) < 0.1, rising, 0)),
        "two values": np.arange(n) % 2.0,
        "once": np.where(np.arange(n) < 120, rising, rising - 120),
    }
    for name, column in cases.items():
        assert find_geometry(walk(column[:, None])) == Geometry(1), name
