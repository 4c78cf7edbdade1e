"""The picture of a task that has none of its own: the running time series of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.rendering.canvas import Canvas
from persim_gym.envs.rendering.picture import (
    COOL,
    INK,
    INK_LIGHT,
    STEEL,
    WARM,
    WARM_DARK,
    WIDTH,
    Frame,
    checked_observation,
    covariates_caption,
)


class StripsRenderer:
    """A strip for each coordinate and action, the first twelve of them, over the last steps.

    What is shaded is the recorded range. Without :meth:`remember` a strip shows the present alone.

    Args:
        names: What the coordinates are called ``[d]``.
        recorded: Smallest and largest recorded values ``[2, d]``.
        actions: What the action's coordinates are called ``[a]``.
        taken: Smallest and largest actions ``[2, a]``.
        steps: Steps that fit into a strip; an episode that is longer moves to the left.
    """

    MOST = 12
    #: Widths of the recorded range that a strip shows beyond it.
    BEYOND = 0.5
    _LEFT, _RIGHT, _TOP, _BOTTOM = 150.0, 510.0, 345.0, 15.0  # pixels
    _SHADE, _ACTED = (205, 217, 225), (98, 128, 156)

    def __init__(
        self,
        names: Sequence[str],
        recorded: NDArray[Any],
        actions: Sequence[str] = (),
        taken: NDArray[Any] | None = None,
        steps: int = 200,
    ) -> None:
        self._points = max(steps, 1) + 1
        self._names, self._rows = tuple(names), (*names, *actions)
        ranges = np.asarray(recorded, np.float64)
        if taken is not None:
            ranges = np.concatenate([ranges, np.asarray(taken, np.float64)], axis=1)
        room = self.BEYOND * np.maximum(ranges[1] - ranges[0], 1e-9)
        self._low, self._high = ranges[0] - room, ranges[1] + room
        self._obs: list[NDArray[Any]] = []
        self._actions: list[Any] = []
        self._canvas = canvas = Canvas(0.0, 0.0, 1.0)
        canvas.sky()
        shown = min(len(self._rows), self.MOST)
        pitch = (self._TOP - self._BOTTOM) / max(shown, 3)
        self._middles = [self._TOP - (row + 0.5) * pitch for row in range(shown)]
        self._half = 0.42 * pitch
        for row, y in enumerate(self._middles):
            name = self._rows[row]
            name = name if len(name) <= 20 else f"{name[:19]}…"
            canvas.text(name, (0.5 * self._LEFT, y), INK)
            ends = [self._height(row, float(value)) for value in ranges[:, row]]
            canvas.box(self._SHADE, (self._LEFT, ends[0]), (self._RIGHT, ends[1]))
            canvas.line(STEEL, (self._LEFT, y - self._half), (self._RIGHT, y - self._half), 1.0)
        if shown < len(self._rows):
            more = f"and {len(self._rows) - shown} more"
            canvas.text(more, (0.5 * WIDTH, 0.5 * self._BOTTOM), INK_LIGHT)
        canvas.keep_as_background()

    def remember(self, obs: Sequence[NDArray[Any]], actions: Sequence[Any]) -> None:
        """Take the episode so far: observations ``[t + 1]`` of ``[d]``, and actions ``[t]``."""
        self._obs, self._actions = list(obs), list(actions)

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state; see :meth:`persim_gym.envs.rendering.Renderer.draw`."""
        now = checked_observation(obs, self._names, x)
        caption = covariates_caption(covariates)
        canvas, d = self._canvas, len(self._names)
        states = np.array([*self._obs[:-1], now] if self._obs else [now])[-self._points :]
        kept = max(len(states) - 1, 0)
        acted = np.array([np.ravel(one) for one in self._actions][-kept:] if kept else [])
        canvas.begin()
        for row, y in enumerate(self._middles):
            if row < d:
                self._curve(row, states[:, row], WARM)
                place = (self._across(len(states) - 1), self._height(row, states[-1, row]))
                canvas.disc(WARM_DARK, place, 5.0)
                canvas.disc(WARM, place, 3.5)
                text = f"{states[-1, row]:.4g}"
            else:
                values = acted[:, row - d] if len(acted) else np.zeros(0)
                self._curve(row, np.repeat(values, 2), self._ACTED, held=True)
                text = f"{values[-1]:.4g}" if len(values) else ""
            canvas.text(text, (0.5 * (self._RIGHT + WIDTH), y), COOL)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""

    def _curve(
        self, row: int, values: NDArray[Any], color: tuple[int, int, int], held: bool = False
    ) -> None:
        """A line through values, or with ``held`` one that stays at each for a step."""
        points = [
            (self._across((i + 1) // 2 if held else i), self._height(row, float(value)))
            for i, value in enumerate(values)
        ]
        for start, end in pairwise(points):
            self._canvas.line(color, start, end, 2.0)

    def _across(self, step: int) -> float:
        return self._LEFT + (self._RIGHT - self._LEFT) * step / (self._points - 1)

    def _height(self, row: int, value: float) -> float:
        share = (value - self._low[row]) / (self._high[row] - self._low[row])
        return self._middles[row] + self._half * (2 * float(np.clip(share, 0.0, 1.0)) - 1)
