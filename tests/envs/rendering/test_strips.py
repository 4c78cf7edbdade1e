"""Time series of an episode, for tasks that have no picture of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.rendering.strips import StripsRenderer
from tests.envs.rendering.drawn import curves_of

NAMES, RANGES = ("level", "weight"), np.array([[0.0, 10.0], [1.0, 30.0]])


def strips(**options: Any) -> StripsRenderer:
    return StripsRenderer(NAMES, RANGES, **options)


def test_a_strip_shows_the_recorded_range_and_half_of_it_beyond() -> None:
    own = strips()
    low, high = own._height(0, 0.0), own._height(0, 1.0)
    assert own._height(0, 0.5) == pytest.approx(own._middles[0])
    ends = own._middles[0] - own._half, own._middles[0] + own._half
    # Of two widths of the range the middle one is the recorded one.
    assert (low - ends[0], ends[1] - high) == pytest.approx(((high - low) / 2,) * 2)
    assert own._height(0, -99.0) == pytest.approx(ends[0])
    assert own._height(0, 99.0) == pytest.approx(ends[1])
    assert own._height(1, 20.0) == pytest.approx(own._middles[1])


def test_the_present_alone_is_a_point_and_the_past_a_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, lines = strips(steps=10), curves_of(monkeypatch)
    own.draw(np.array([0.5, 20.0]), {})
    assert lines == []
    past = [np.array([0.1 * t, 20.0]) for t in range(4)]
    own.remember(past, [0, 1, 0])
    own.draw(past[-1], {})
    assert len(lines) == 2 * 3  # three steps of two coordinates
    (first, _), (_, last) = lines[0], lines[2]
    assert first == (150.0, own._height(0, 0.0))
    assert last == (pytest.approx(150.0 + 360.0 * 3 / 10), own._height(0, past[-1][0]))


def test_an_episode_that_is_longer_moves_to_the_left(monkeypatch: pytest.MonkeyPatch) -> None:
    own, lines = strips(steps=3), curves_of(monkeypatch)
    past = [np.array([0.1 * t, 20.0]) for t in range(8)]
    own.remember(past, list(range(7)))
    own.draw(past[-1], {})
    assert len(lines) == 2 * 3
    assert lines[0][0] == (150.0, own._height(0, past[4][0]))
    assert lines[2][1] == (510.0, own._height(0, past[7][0]))


def test_actions_stay_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    own = strips(actions=["dose"], taken=np.array([[0.0], [2.0]]), steps=4)
    lines = curves_of(monkeypatch)
    own.remember([np.array([0.5, 20.0])] * 3, [np.array([0.0]), np.array([2.0])])
    own.draw(np.array([0.5, 20.0]), {})
    acted = lines[4:]
    low, high = own._height(2, 0.0), own._height(2, 2.0)
    places = [150.0 + 90.0 * step for step in (0, 1, 2)]
    assert acted == [
        ((places[0], low), (places[1], low)),
        ((places[1], low), (places[1], high)),
        ((places[1], high), (places[2], high)),
    ]


def test_twelve_are_shown_and_the_others_counted() -> None:
    names = [f"c{k}" for k in range(15)]
    many = StripsRenderer(names, np.array([[0.0] * 15, [1.0] * 15]))
    assert len(many._middles) == 12
    frame = many.draw(np.full(15, 0.5), {"age": 7.0}, label="patient")
    assert frame.shape == (400, 600, 3)
    with pytest.raises(ValueError, match="whose c3 is nan"):
        many.draw(np.where(np.arange(15) == 3, np.nan, 0.5), {})
