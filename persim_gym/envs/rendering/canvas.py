"""A canvas in world coordinates, for the tasks that are painted with pygame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.rendering.picture import (
    HEIGHT,
    INK,
    INK_LIGHT,
    SKY_BOTTOM,
    SKY_TOP,
    STEEL,
    WIDTH,
    Captions,
    Color,
    Frame,
    import_pygame,
    to_frame,
)

#: A point in world coordinates.
Point: TypeAlias = tuple[float, float]


class Canvas:
    """A picture painted in world coordinates.

    Everything is painted four times as large and scaled down at the end, which smooths all edges
    alike.

    Args:
        left: World coordinate at the left edge.
        bottom: World coordinate at the lower edge.
        scale: Pixels of the finished picture per unit of the world.
    """

    _OVERSAMPLING = 4

    def __init__(self, left: float, bottom: float, scale: float) -> None:
        self._pygame = import_pygame()
        self._captions = Captions(self._pygame)
        self._left, self._bottom = left, bottom
        self._scale = scale * self._OVERSAMPLING
        size = (WIDTH * self._OVERSAMPLING, HEIGHT * self._OVERSAMPLING)
        self._surface = self._pygame.Surface(size, 0, 32)
        self._background = self._surface.copy()

    def sky(self) -> None:
        """Fill the picture with a gradient."""
        pair = self._pygame.Surface((1, 2), 0, 32)
        pair.set_at((0, 0), SKY_TOP)
        pair.set_at((0, 1), SKY_BOTTOM)
        self._pygame.transform.smoothscale(pair, self._surface.get_size(), self._surface)

    def keep_as_background(self) -> None:
        """Let every later picture begin with what has been painted so far."""
        self._background.blit(self._surface, (0, 0))

    def begin(self) -> None:
        """Begin a picture."""
        self._surface.blit(self._background, (0, 0))

    def frame(self, label: str, details: str) -> Frame:
        """Finish the picture: a fresh array ``[400, 600, 3]`` with its caption."""
        picture = self._pygame.Surface((WIDTH, HEIGHT), 0, 32)
        self._pygame.transform.smoothscale(self._surface, (WIDTH, HEIGHT), picture)
        self._captions.draw(picture, label, details)
        return to_frame(picture)

    def polygon(self, color: Color, points: Sequence[Point] | NDArray[np.float64]) -> None:
        """Fill the polygon with corners ``[n, 2]``."""
        corners = [self._pixel((x, y)) for x, y in points]
        self._pygame.draw.polygon(self._surface, color, corners)

    def box(self, color: Color, low: Point, high: Point, radius: float = 0.0) -> None:
        """Fill an upright rectangle, given by two opposite corners, with rounded corners."""
        (x0, y0), (x1, y1) = self._pixel(low), self._pixel(high)
        rect = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
        rounding = round(radius * self._scale) or -1
        self._pygame.draw.rect(self._surface, color, rect, border_radius=rounding)

    def disc(self, color: Color, center: Point, radius: float) -> None:
        """Fill a circle."""
        self._pygame.draw.circle(
            self._surface, color, self._pixel(center), round(radius * self._scale)
        )

    def line(
        self, color: Color, start: Point, end: Point, width: float, *, round_: bool = True
    ) -> None:
        """Draw a line with round or square ends."""
        across = _across(start, end, 0.5 * width)
        self.polygon(
            color,
            [
                (start[0] + across[0], start[1] + across[1]),
                (end[0] + across[0], end[1] + across[1]),
                (end[0] - across[0], end[1] - across[1]),
                (start[0] - across[0], start[1] - across[1]),
            ],
        )
        if round_:
            self.disc(color, start, 0.5 * width)
            self.disc(color, end, 0.5 * width)

    def arrow(self, color: Color, start: Point, end: Point, width: float) -> None:
        """Draw an arrow; one shorter than its head shrinks to a small head."""
        length = math.dist(start, end)
        if length == 0.0:
            return
        head = min(2.6 * width, length)
        share = (length - head) / length
        neck = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
        self.line(color, start, neck, width)
        across = _across(start, end, 0.6 * head)
        left = (neck[0] + across[0], neck[1] + across[1])
        self.polygon(color, [end, left, (neck[0] - across[0], neck[1] - across[1])])

    def wheel(
        self, center: Sequence[float] | NDArray[np.float64], radius: float, turn: float
    ) -> None:
        """Draw a wheel whose spokes are turned counterclockwise by ``turn`` rad."""
        middle = (float(center[0]), float(center[1]))
        self.disc(INK, middle, radius)
        self.disc(STEEL, middle, 0.62 * radius)
        for spoke in range(3):
            angle = turn + spoke * math.pi / 3
            reach = (0.6 * radius * math.cos(angle), 0.6 * radius * math.sin(angle))
            start = (middle[0] - reach[0], middle[1] - reach[1])
            end = (middle[0] + reach[0], middle[1] + reach[1])
            self.line(INK_LIGHT, start, end, 0.13 * radius, round_=False)
        self.disc(INK, middle, 0.2 * radius)

    def text(self, text: str, center: Point, color: Color) -> None:
        """Write small text around a point."""
        font = self._pygame.font.Font(None, 18 * self._OVERSAMPLING)
        image = font.render(text, True, color)
        self._surface.blit(image, image.get_rect(center=self._pixel(center)))

    def _pixel(self, point: Point) -> tuple[int, int]:
        x = (point[0] - self._left) * self._scale
        y = self._surface.get_height() - (point[1] - self._bottom) * self._scale
        # Far outside all is equally invisible, but pygame takes only what fits an int.
        return round(min(max(x, -1e5), 1e5)), round(min(max(y, -1e5), 1e5))


def _across(start: Point, end: Point, reach: float) -> Point:
    """Vector of length ``reach`` at a right angle to the line."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    return -dy / length * reach, dx / length * reach
