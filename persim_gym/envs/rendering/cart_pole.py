"""The picture of CartPole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from persim_gym.envs.rendering.canvas import Canvas, Point
from persim_gym.envs.rendering.picture import (
    COOL,
    COOL_DARK,
    GOLD,
    INK_LIGHT,
    PAPER,
    STEEL,
    WARM,
    WARM_DARK,
    Frame,
    checked_observation,
    covariates_caption,
)
from persim_gym.envs.tasks.cart_pole import MAX_ANGLE, MAX_POSITION


class CartPoleRenderer:
    """CartPole: track with its ends, cart, and the pole in its true length."""

    _LEFT, _BOTTOM, _SCALE = -3.0, -1.05, 100.0  # metres at the lower left corner, pixels per metre
    _WHEEL, _HALF_WIDTH = 0.085, 0.33  # m
    _FLOOR, _TOP = 0.1, 0.36  # lower and upper side of the cart, m
    _GROUND, _GROUND_MARK, _OUTSIDE = (219, 216, 206), (166, 165, 158), (203, 196, 186)

    def __init__(self) -> None:
        self._canvas = canvas = Canvas(self._LEFT, self._BOTTOM, self._SCALE)
        canvas.sky()
        right = -self._LEFT
        canvas.box(self._GROUND, (self._LEFT, self._BOTTOM), (right, 0.0))
        for side in (-1.0, 1.0):
            canvas.box(
                self._OUTSIDE, (side * MAX_POSITION, self._BOTTOM), (side * (right + 0.1), 0.0)
            )
            canvas.line(GOLD, (side * MAX_POSITION, 0.0), (side * MAX_POSITION, 0.55), 0.05)
            canvas.line(
                PAPER, (side * MAX_POSITION, 0.2), (side * MAX_POSITION, 0.35), 0.05, round_=False
            )
        canvas.line(INK_LIGHT, (self._LEFT, -0.02), (right, -0.02), 0.04)
        for metre in (-2, -1, 0, 1, 2):
            canvas.line(self._GROUND_MARK, (metre, -0.1), (metre, -0.2), 0.02)
            canvas.text(f"{metre} m" if metre == 0 else f"{metre:+d}", (metre, -0.32), INK_LIGHT)
        canvas.keep_as_background()

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state; the arrows under the cart are the push, to scale.

        See :meth:`persim_gym.envs.rendering.Renderer.draw`.
        """
        names = ("position", "velocity", "angle", "angular velocity")
        cart, _, angle, _ = checked_observation(obs, names, x).tolist()
        caption = covariates_caption(covariates)
        force, length = covariates.get("force", 10.0), covariates.get("length", 0.5)
        canvas = self._canvas
        canvas.begin()
        # A cart far off the track (a learned model's mistake) is out of sight all the same.
        cart = min(max(cart, 3 * self._LEFT), -3 * self._LEFT)
        pivot = (cart, self._TOP)
        tall = min(2.0 * length, 20.0)  # the covariate is half the pole's length
        for limit in (-MAX_ANGLE, MAX_ANGLE):
            canvas.line(STEEL, pivot, _tip(pivot, limit, tall + 0.12), 0.012)
        push = min(force / 18.0, 2.0)
        for side in (-1.0, 1.0):
            start = cart + side * 0.08
            canvas.arrow(COOL, (start, -0.65), (start + side * 0.9 * push, -0.65), 0.035)
        canvas.box(
            COOL,
            (cart - self._HALF_WIDTH, self._FLOOR),
            (cart + self._HALF_WIDTH, self._TOP),
            0.07,
        )
        canvas.box(
            COOL_DARK,
            (cart - self._HALF_WIDTH, self._FLOOR),
            (cart + self._HALF_WIDTH, self._FLOOR + 0.08),
            0.04,
        )
        for side in (-1.0, 1.0):
            canvas.wheel((cart + side * 0.2, self._WHEEL), self._WHEEL, -cart / self._WHEEL)
        canvas.line(WARM, pivot, _tip(pivot, angle, tall), 0.075)
        canvas.disc(WARM_DARK, pivot, 0.062)
        canvas.disc(PAPER, pivot, 0.028)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""


def _tip(pivot: Point, angle: float, length: float) -> Point:
    """Where a pole ends that leans clockwise by ``angle`` rad."""
    return pivot[0] + length * math.sin(angle), pivot[1] + length * math.cos(angle)
