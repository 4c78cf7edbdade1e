"""The picture of MountainCar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.rendering.canvas import Canvas, Point
from persim_gym.envs.rendering.picture import (
    GOLD,
    INK_LIGHT,
    PAPER,
    WARM,
    WIDTH,
    Frame,
    checked_observation,
    covariates_caption,
)
from persim_gym.envs.tasks.mountain_car import GOAL, LEFT_WALL


class MountainCarRenderer:
    """MountainCar: the hill, the flag at the goal, the car on its two wheels."""

    _LEFT, _BOTTOM, _SCALE = -1.3, -0.13, 300.0  # world at the lower left corner, pixels per unit
    _WHEEL, _AXLES = 0.027, 0.1  # wheel radius, distance of the axles
    _BODY = (
        (-0.086, 0.002), (-0.084, -0.008), (0.086, -0.008), (0.092, 0.004), (0.09, 0.022),
        (0.082, 0.032), (0.048, 0.039), (0.022, 0.07), (0.012, 0.074), (-0.036, 0.074),
        (-0.045, 0.07), (-0.064, 0.042), (-0.084, 0.036), (-0.088, 0.028),
    )  # fmt: skip
    _WINDOWS = (
        ((0.036, 0.041), (0.016, 0.066), (0.0, 0.066), (0.0, 0.041)),
        ((-0.009, 0.041), (-0.009, 0.066), (-0.036, 0.066), (-0.052, 0.041)),
    )
    _GLASS = (222, 236, 242)
    _HILL, _GRASS, _UNDERGROUND = (121, 156, 138), (92, 130, 112), (150, 178, 162)

    def __init__(self) -> None:
        self._canvas = canvas = Canvas(self._LEFT, self._BOTTOM, self._SCALE)
        canvas.sky()
        reach = np.linspace(self._LEFT, self._LEFT + WIDTH / self._SCALE, 301)
        for height, wave, phase, color in (
            (0.62, 2.3, 0.4, (205, 219, 226)),
            (0.44, 3.1, 2.0, (188, 206, 211)),
        ):
            ridge = height + 0.09 * np.sin(wave * reach + phase) + 0.03 * np.sin(7.0 * reach)
            canvas.polygon(color, self._down_to_bottom(reach, ridge))
        hill = np.array([_hill(x) for x in reach.tolist()])
        canvas.polygon(self._GRASS, self._down_to_bottom(reach, hill))
        canvas.polygon(self._HILL, self._down_to_bottom(reach, hill - 0.018))
        # The wall stands where the bumper of a stopped car is.
        bumper = LEFT_WALL - 0.085
        canvas.line(INK_LIGHT, (bumper, _hill(bumper) - 0.01), (bumper, _hill(bumper) + 0.1), 0.015)
        top = _hill(GOAL)
        canvas.line(INK_LIGHT, (GOAL, top - 0.01), (GOAL, top + 0.16), 0.009)
        canvas.polygon(GOLD, [(GOAL, top + 0.16), (GOAL + 0.09, top + 0.128), (GOAL, top + 0.096)])
        canvas.keep_as_background()

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state; the arrow under the car is gravity, to scale.

        See :meth:`persim_gym.envs.rendering.Renderer.draw`.
        """
        position = checked_observation(obs, ("position", "velocity"), x)[0].item()
        caption = covariates_caption(covariates)
        gravity = covariates.get("gravity", 0.0025)
        canvas = self._canvas
        canvas.begin()
        # Each wheel stands on the hill; the body lies along the line through the axles.
        half = 0.5 * self._AXLES / math.hypot(1.0, _slope(position))
        rear, front = (self._axle(position + side * half) for side in (-1, 1))
        middle = 0.5 * (rear + front)
        tilt = math.atan2(front[1] - rear[1], front[0] - rear[0])
        depth = 0.15 * min(gravity / 0.0035, 2.0)
        start = (position, _hill(position) - 0.04 * math.hypot(1.0, _slope(position)))
        canvas.arrow(PAPER, start, (start[0], start[1] - depth), 0.011)
        canvas.polygon(WARM, _placed(self._BODY, middle, tilt))
        for window in self._WINDOWS:
            canvas.polygon(self._GLASS, _placed(window, middle, tilt))
        for axle in (rear, front):
            canvas.wheel(axle, self._WHEEL, -position / self._WHEEL)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""

    def _axle(self, position: float) -> NDArray[np.float64]:
        """Centre ``[2]`` of a wheel that touches the hill at ``position``."""
        normal = np.array([-_slope(position), 1.0]) / math.hypot(1.0, _slope(position))
        return np.array([position, _hill(position)]) + self._WHEEL * normal

    def _down_to_bottom(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        outline = np.stack([x, y], axis=1)
        return np.concatenate([outline, [[x[-1], self._BOTTOM], [x[0], self._BOTTOM]]])


def _hill(x: float) -> float:
    """Height of MountainCar's hill."""
    return 0.45 * math.sin(3 * x) + 0.55


def _slope(x: float) -> float:
    """Derivative of the hill's height."""
    return 1.35 * math.cos(3 * x)


def _placed(shape: Iterable[Point], at: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """A shape ``[n, 2]`` turned counterclockwise by ``angle`` rad, then moved to ``at`` ``[2]``."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = np.array(list(shape)) @ np.array([[cos, sin], [-sin, cos]]) + at
    return turned
