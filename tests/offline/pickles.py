"""Values that a pickle may hold, and a comparison of them."""

from __future__ import annotations

from typing import Any

import numpy as np

PROTOCOLS = range(6)


GRID = np.arange(12.0).reshape(3, 4)


def same(one: Any, other: Any) -> None:
    """Equal in type, order, shape and content."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.shape == other.shape
        assert one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for ours, theirs in zip(one, other, strict=True):
            same(ours, theirs)
    elif one == one:  # not a NaN
        assert one == other


ARRAYS = [
    *(GRID.astype(kind) for kind in "?bBhHiIqQefd"),
    GRID.astype(">f8"), GRID.astype(">i2"), np.asfortranarray(GRID), GRID[::2, ::-1], GRID.T,
    np.array(3.0), np.empty((0, 4)), np.zeros((2, 1, 3), bool), np.frombuffer(b"abcdefgh", "f4"),
    np.float64(1.5), np.float32(1.5), np.int64(-3), np.bool_(True), np.uint8(7),
]  # fmt: skip
