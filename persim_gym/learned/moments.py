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


def measure(rows: int, values: Callable[[slice], NDArray[Any]]) -> Measures:
    """Measure columns.

    Args:
        rows: Number of rows, at least one.
        values: The values of some of the rows ``[k, c]``.
    """
    first = [(b.sum(axis=0), b.min(axis=0), b.max(axis=0)) for b in _double(rows, values)]
    total, low, high = (np.stack(column) for column in zip(*first, strict=True))
    mean = total.sum(axis=0) / rows
    squares = np.stack([np.square(b - mean).sum(axis=0) for b in _double(rows, values)])
    return Measures(mean, np.sqrt(squares.sum(axis=0) / rows), low.min(axis=0), high.max(axis=0))


def blocks(rows: int) -> Iterator[slice]:
    """All rows, block after block."""
    for first in range(0, rows, BLOCK):
        yield slice(first, min(first + BLOCK, rows))


def _double(rows: int, values: Callable[[slice], NDArray[Any]]) -> Iterator[NDArray[np.float64]]:
    for block in blocks(rows):
        yield np.asarray(values(block), dtype=np.float64)


def moments_of(
    values: Callable[[slice], NDArray[np.float32]], used: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the rows used; the deviation is 1 where a column is constant.

    In blocks: a double-precision copy of all rows would be the largest thing in memory.
    """

    def blocks() -> Iterator[NDArray[np.float32]]:
        for first in range(0, len(used), FEW):
            block = slice(first, first + FEW)
            yield values(block)[used[block]]

    rows = int(used.sum())
    total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks())
    mean = np.asarray(total / rows)
    squares = sum(np.square(block - mean).sum(axis=0) for block in blocks())
    deviation = np.sqrt(np.asarray(squares / rows))
    deviation[deviation < 1e-12] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)
