"""Painting in world coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs.rendering.canvas import Canvas, _across
from persim_gym.envs.rendering.picture import HEIGHT, WIDTH

RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.fixture
def canvas() -> Canvas:
    """From (-3, -1) at 100 pixels a unit: (0, 0) is 300 pixels from the left, 300 from the top."""
    return Canvas(-3.0, -1.0, 100.0)


def rows_and_columns(frame: np.ndarray, color: int) -> list[int]:
    """First and last row and column in which a colour is."""
    rows, columns = np.nonzero(frame[..., color] > 150)
    return [int(x) for x in (rows.min(), rows.max(), columns.min(), columns.max())]


def test_the_world_has_its_y_axis_upwards(canvas: Canvas) -> None:
    canvas.begin()
    canvas.box(RED, (0.0, 0.0), (1.0, 0.5))
    frame = canvas.frame("", "")
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert rows_and_columns(frame, 0) == [250, 299, 300, 399]


@pytest.mark.parametrize(
    ("paint", "box"),
    [
        (lambda c: c.disc(RED, (0.0, 0.0), 0.2), [280, 319, 280, 319]),
        (lambda c: c.polygon(RED, [(0, 0), (1, 0), (1, 1), (0, 1)]), [200, 299, 300, 399]),
        (lambda c: c.line(RED, (0, 0), (1, 0), 0.2, round_=False), [290, 309, 300, 399]),
        (lambda c: c.line(RED, (0, 0), (1, 0), 0.2), [290, 309, 290, 409]),
        (lambda c: c.arrow(RED, (0, 0), (1, 0), 0.1), [284, 315, 295, 399]),
        (lambda c: c.arrow(RED, (0, 0), (0.1, 0), 0.1), [294, 305, 295, 309]),
    ],
    ids=["disc", "polygon", "line", "round line", "arrow", "short arrow"],
)
def test_shapes_are_to_scale(canvas: Canvas, paint: object, box: list[int]) -> None:
    canvas.begin()
    paint(canvas)  # type: ignore[operator]
    found = rows_and_columns(canvas.frame("", ""), 0)
    assert found == pytest.approx(box, abs=2)


def test_an_arrow_of_no_length_is_none(canvas: Canvas) -> None:
    canvas.begin()
    canvas.arrow(RED, (0, 0), (0, 0), 0.1)
    assert not canvas.frame("", "").any()


def test_every_picture_begins_with_what_was_kept(canvas: Canvas) -> None:
    canvas.box(RED, (0.0, 0.0), (1.0, 1.0))
    canvas.keep_as_background()
    canvas.begin()
    canvas.box(BLUE, (0.0, 0.0), (1.0, 1.0))
    assert canvas.frame("", "")[250, 350].tolist() == [0, 0, 200]
    canvas.begin()
    assert canvas.frame("", "")[250, 350].tolist() == [200, 0, 0]


def test_what_is_far_outside_is_out_of_sight(canvas: Canvas) -> None:
    canvas.begin()
    canvas.box(RED, (1e30, 1e30), (2e30, 2e30))
    assert not canvas.frame("", "").any()


def test_a_line_is_as_wide_to_both_sides() -> None:
    assert _across((0.0, 0.0), (2.0, 0.0), 0.5) == (0.0, 0.5)
    assert _across((1.0, 1.0), (1.0, 1.0), 0.5) == (0.0, 0.0)
