"""Pairs that lie on a circle but for some wrong rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.offline.tables.circles import off_circles

N = 600
FOLLOWS = np.arange(1, N) % 100 > 0


def turning(radius: float = 1.0, noise: float = 0.0) -> NDArray[np.float64]:
    """A cosine, a speed and a sine ``[n, 3]``."""
    rng = np.random.default_rng(0)
    angle = np.cumsum(rng.normal(0.1, 0.3, N))
    rows = np.stack([radius * np.cos(angle), rng.normal(size=N), radius * np.sin(angle)], axis=1)
    return np.asarray(rows + rng.normal(0, noise, rows.shape))


@pytest.mark.parametrize(("radius", "noise"), [(1.0, 0.0), (3.0, 0.0), (1.0, 0.01)])
def test_wrong_rows_are_off_their_circle(radius: float, noise: float) -> None:
    values = turning(radius, noise)
    assert not off_circles(values, FOLLOWS).any()
    seen = values.copy()
    rows = np.arange(20, N, 40)
    seen[rows, 0] += 4.0 * radius
    seen[rows[:5] + 1, 2] -= 5.0 * radius
    bad = seen != values
    found = off_circles(seen, FOLLOWS)
    assert (found.any(axis=1) == bad.any(axis=1)).all()
    assert found[rows[5:], 0].all()  # of a row alone it is known which of the two is wrong


def test_what_stays_off_or_has_no_circle_is_left_alone() -> None:
    seen = turning()
    seen[200:230, 0] += 2.0  # it has left its circle for a time
    assert not off_circles(seen, FOLLOWS).any()
    still = turning()
    still[30::20, [0]], still[30::20, 2] = 0.0, 0.0  # a direction of what stands still
    assert not off_circles(still, FOLLOWS).any()
    few = turning()
    few[[100, 300], 0] += 3.0
    assert not off_circles(few, FOLLOWS).any()
    narrow = np.stack([1 + 0.001 * turning()[:, 1], 0.01 * turning()[:, 0]], axis=1)
    narrow[30::20, 0] += 3.0  # a constant is no circle
    assert not off_circles(narrow, FOLLOWS).any()


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_of_a_few_rows_nothing_is_said(rows: int) -> None:
    values = turning()[:rows]
    values[: rows // 4] *= 5.0
    assert not off_circles(values, FOLLOWS[: max(0, rows - 1)]).any()
