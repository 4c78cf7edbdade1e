"""Products of weights and many rows, each small enough for one thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Multiply-adds of a product up to which NumPy's libraries take one thread. More of them would wait
#: for each other longer than they work, and on a busy machine lose everything.
ALONE = 1 << 18


def product(
    weight: NDArray[np.float32], x: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``weight`` ``[..., o, t]`` times ``x`` ``[..., t, n]``, by columns that one thread can do.

    Returns:
        ``out`` ``[..., o, n]``, new memory by default.
    """
    n = x.shape[-1]
    if out is None:
        out = np.empty((*weight.shape[:-1], n), dtype=np.float32)
    for part in columns(weight, n):
        np.matmul(weight, x[..., part], out=out[..., part])
    return out


def columns(weight: NDArray[np.float32], n: int) -> list[slice]:
    """Parts of ``n`` columns, alike in size, whose product with ``weight`` one thread can do."""
    o, t = weight.shape[-2:]
    count = -(-n // max(1, ALONE // max(1, o * t)))
    width = -(-n // max(1, count))
    return [slice(first, first + width) for first in range(0, n, max(1, width))]
