"""The picture of CartPole."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.envs.rendering import make_renderer
from persim_gym.envs.rendering.cart_pole import _tip


def test_cartpole_pole_is_drawn_to_scale() -> None:
    renderer = make_renderer("cartpole")
    heights = []
    for length in (0.15, 0.5, 0.85):
        frame = renderer.draw(np.zeros(4), {"length": length}).astype(int)
        # Above the cart only the pole is red in this column.
        rows = np.flatnonzero((frame[40:255, 300, 0] - frame[40:255, 300, 2]) > 100)
        heights.append(rows.size)
    assert np.diff(heights) == pytest.approx([70, 70], abs=2)  # twice 0.35 m of 100 pixels each


def test_cartpole_leans_and_moves_the_right_way() -> None:
    renderer = make_renderer("cartpole")

    def red_column(obs: list[float]) -> float:
        # Above the cart and between the posts at the ends of the track.
        frame = renderer.draw(np.array(obs), {}).astype(int)[150:240, 100:500]
        return float(np.nonzero((frame[..., 0] - frame[..., 2]) > 100)[1].mean()) + 100

    assert red_column([0, 0, 0, 0]) == pytest.approx(300, abs=1)
    assert red_column([0, 0, 0.2, 0]) > 303
    assert red_column([1, 0, 0, 0]) == pytest.approx(400, abs=1)


def test_arrows_grow_with_the_force() -> None:
    renderer = make_renderer("cartpole")

    def blue(force: float) -> int:
        frame = renderer.draw(np.zeros(4), {"force": force}).astype(int)[340:385]
        return int(((frame[..., 2] - frame[..., 0]) > 40).sum())

    assert blue(5.0) < blue(10.0) < blue(18.0)


def test_a_pole_leans_to_the_right_with_a_positive_angle() -> None:
    assert _tip((1.0, 2.0), 0.0, 0.5) == (1.0, 2.5)
    assert _tip((1.0, 2.0), math.pi / 2, 0.5) == pytest.approx((1.5, 2.0))
