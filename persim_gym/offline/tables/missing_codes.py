"""Numbers that stand for a missing value: 999, -9999, the largest integer, far from all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers that programs and sensors write where they have none.
CODES = (
    *(sign * (10.0**digits - 1) for sign in (1, -1) for digits in range(2, 10)),
    *(float(2**bits - 1) for bits in (15, 16, 31, 32)),
    *(-float(2**bits) for bits in (15, 31)),
)
#: Widths of all other values' range by which a code is away from them, and the largest share of
#: the rows that hold it.
APART, MOST = 9.0, 0.5


def missing_codes(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows ``[n]`` whose value is a code for a missing one.

    A code is one of the usual numbers that is far away from all values that are none. Where other
    values come near it, it is a value like these.

    Args:
        values: Of one column ``[n]``; nan where they are missing.
    """
    usual = np.isin(values, CODES)
    others = values[~usual & ~np.isnan(values)]
    if not usual.any() or usual.sum() > MOST * len(values) or not len(others):
        return np.zeros(len(values), dtype=np.bool_)
    low, high = others.min(), others.max()
    room = APART * (high - low)
    far = (values > high + room) | (values < low - room)
    # Of a column that else never changes nothing is far; a number among the codes' own size is.
    return np.asarray(usual & far & (room > 0))
