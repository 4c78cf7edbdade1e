"""Means, deviations and ranges of columns, in double precision and block by block.

A double-precision copy of all rows would be the largest thing in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows of a block.
BLOCK = 2**18
#: Rows of a block of which only some are measured.
FEW = 2**14


@dataclass(frozen=True, slots=True)
class Measures:
    """What ``c`` columns are like, each ``[c]`` in double precision.

    Attributes:
        mean: Their means.
        deviation: Their standard deviations.
        low: Their least values.
        high: Their largest values.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def unit(self) -> NDArray[np.float64]:
        """The deviations, 1 where a column is constant."""
        return np.where(self.deviation < 1e-12, 1.0, self.deviation)

    def single(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means and units in single precision."""
        return self.mean.astype(np.float32), self.unit.astype(np.float32)


def measure(
    rows: int, values: Callable[[slice], NDArray[Any]], used: NDArray[np.bool_] | None = None
) -> Measures:
    """Measure columns.

    Args:
        rows: Number of rows, at least one.
        values: The values of some of the rows ``[k, c]``.
        used: Which rows count ``[rows]``, at least one of them; all by default.
    """

    def double() -> Iterator[NDArray[np.float64]]:
        for block in blocks(rows, BLOCK if used is None else FEW):
            found = values(block) if used is None else values(block)[used[block]]
            yield np.asarray(found, dtype=np.float64)

    first = [(b.sum(axis=0), b.min(axis=0), b.max(axis=0)) for b in double() if len(b)]
    total, low, high = (np.stack(column) for column in zip(*first, strict=True))
    count = rows if used is None else int(used.sum())
    mean = total.sum(axis=0) / count
    squares = np.stack([np.square(b - mean).sum(axis=0) for b in double()])
    return Measures(mean, np.sqrt(squares.sum(axis=0) / count), low.min(axis=0), high.max(axis=0))


def blocks(rows: int, size: int = BLOCK) -> Iterator[slice]:
    """All rows, block after block."""
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))
