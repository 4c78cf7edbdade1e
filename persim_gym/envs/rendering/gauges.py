"""The picture of a task that has none of its own: a gauge for each coordinate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class GaugesRenderer:
    """One scale for each coordinate, the first twelve of them, with the recorded range shaded.

    Args:
        names: What the coordinates are called ``[d]``.
        low: Lower ends of the scales ``[d]``.
        high: Upper ends ``[d]``.
        recorded: Lower and upper ends of what is shaded ``[2, d]``.
    """

    MOST = 12
    _LEFT, _RIGHT, _TOP, _BOTTOM = 170.0, 500.0, 340.0, 15.0  # pixels
    _SHADE = (170, 190, 205)

    def __init__(
        self,
        names: Sequence[str],
        low: NDArray[Any],
        high: NDArray[Any],
        recorded: NDArray[Any],
    ) -> None:
        self._names = tuple(names)
        self._low, self._high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._canvas = canvas = Canvas(0.0, 0.0, 1.0)
        canvas.sky()
        shown = min(len(self._names), self.MOST)
        pitch = (self._TOP - self._BOTTOM) / max(shown, 4)
        self._heights = [self._TOP - (row + 0.5) * pitch for row in range(shown)]
        for row, y in enumerate(self._heights):
            name = self._names[row]
            name = name if len(name) <= 22 else f"{name[:21]}…"
            canvas.text(name, (0.5 * self._LEFT, y), INK)
            canvas.line(STEEL, (self._LEFT, y), (self._RIGHT, y), 6.0)
            ends = [self._place(row, float(value)) for value in recorded[:, row]]
            canvas.line(self._SHADE, (ends[0], y), (ends[1], y), 6.0)
        if shown < len(self._names):
            more = f"and {len(self._names) - shown} more"
            canvas.text(more, (0.5 * WIDTH, 0.5 * self._BOTTOM), INK_LIGHT)
        canvas.keep_as_background()

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state; see :meth:`persim_gym.envs.rendering.Renderer.draw`."""
        values = checked_observation(obs, self._names, x).tolist()
        caption = covariates_caption(covariates)
        canvas = self._canvas
        canvas.begin()
        for row, y in enumerate(self._heights):
            place = self._place(row, values[row])
            canvas.disc(WARM_DARK, (place, y), 8.0)
            canvas.disc(WARM, (place, y), 6.0)
            canvas.text(f"{values[row]:.4g}", (0.5 * (self._RIGHT + WIDTH), y), COOL)
        return canvas.frame(label, caption)

    def close(self) -> None:
        """Nothing to free: the canvas is plain memory."""

    def _place(self, row: int, value: float) -> float:
        width = self._high[row] - self._low[row]
        share = (value - self._low[row]) / width if width > 0 else 0.5
        return self._LEFT + float(np.clip(share, 0.0, 1.0)) * (self._RIGHT - self._LEFT)
