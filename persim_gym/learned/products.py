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
    o, t = weight.shape[-2:]
    n = x.shape[-1]
    if out is None:
        out = np.empty((*weight.shape[:-1], n), dtype=np.float32)
    parts = -(-n // max(1, ALONE // max(1, o * t)))
    if parts <= 1:
        return np.matmul(weight, x, out=out)
    width = -(-n // parts)
    for first in range(0, n, width):
        columns = slice(first, first + width)
        np.matmul(weight, x[..., columns], out=out[..., columns])
    return out
