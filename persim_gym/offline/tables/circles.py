"""Rows off a circle that nearly all rows lie on: cosine and sine of which one is wrong."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Distance of squared radii from their middle, as a share of it, that two thirds of the rows are
#: within; what a wrong row is beyond, and how many times as far as the others.
TIGHT, OFF, FAR = 0.05, 0.02, 8.0
#: Range of a column's square, over the squared radius, from which a pair turns.
TURNS = 0.3
#: Fewest rows off a circle that are believed, and most of them, as a share of the rows.
FEWEST, MOST = 6, 0.1
#: Rows one after the other up to which they are wrong ones, and the share of longer stretches from
#: which the pair leaves its circle.
LENGTH, OFTEN = 2, 0.3
#: Columns up to which pairs are tried.
COLUMNS = 40
#: Rows that are tried first, and by what factor they may be further off a circle than all rows may.
ROWS, SURE = 2000, 2.0


def off_circles(values: Floats, follows: Flags) -> Flags:
    """Which values ``[n, d]`` take a row off a circle around the origin that the others lie on.

    Args:
        values: State columns, trajectory after trajectory in the order of time ``[n, d]``; nan
            where there is none.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
    """
    found = np.zeros(values.shape, dtype=np.bool_)
    if len(values) < FEWEST / MOST or values.shape[1] > COLUMNS:
        return found
    for pair in itertools.combinations(range(values.shape[1]), 2):
        if not _perhaps(values[:: max(1, len(values) // ROWS)][:, pair]):
            continue
        own = values[:, pair]
        off = _off(own, follows)
        if off.any():
            found[np.flatnonzero(off), np.array(pair)[_which(own, follows)[off]]] = True
    return found


def _perhaps(pair: Floats) -> bool:
    """Whether all the rows may lie on a circle, by some of them ``[k, 2]``."""
    square = np.square(pair).sum(axis=1)
    square = square[np.isfinite(square) & (square > 0)]
    if len(square) < ROWS / 2:
        return True
    away = np.abs(square / np.median(square) - 1)
    return bool(np.quantile(away, 0.683) <= SURE * TIGHT)


def _off(pair: Floats, follows: Flags) -> Flags:
    """Rows off the circle ``[n]`` of a pair ``[n, 2]``; none where it has none."""
    none = np.zeros(len(pair), dtype=np.bool_)
    squares = np.square(pair)
    square = squares.sum(axis=1)
    known = np.isfinite(square) & (square > 0)  # a direction of what stands still is none
    if known.sum() < FEWEST / MOST:
        return none
    middle = float(np.median(square[known]))
    away = np.where(known, np.abs(np.where(known, square, middle) / middle - 1), 0.0)
    usual = float(np.quantile(away[known], 0.683))
    low, high = np.quantile(squares[known], [0.1, 0.9], axis=0)
    if usual > TIGHT or ((high - low) < TURNS * middle).any():
        return none
    off: Flags = np.asarray(away > max(OFF, FAR * usual))
    if not FEWEST <= off.sum() <= MOST * known.sum():
        return none
    begins = np.flatnonzero(np.append(True, ~(off[1:] & off[:-1] & follows)))
    length = np.repeat(np.diff(np.append(begins, len(off))), np.diff(np.append(begins, len(off))))
    lasts = off & (length > LENGTH)
    return none if lasts.sum() > OFTEN * off.sum() else off & ~lasts


def _which(pair: Floats, follows: Flags) -> NDArray[np.int64]:
    """Which of the two is further from the rows beside it ``[n]``."""
    step = np.where(follows[:, None], np.abs(np.diff(pair, axis=0)), 0.0)
    edge = np.zeros((1, 2))
    total = np.concatenate([edge, step]) + np.concatenate([step, edge])
    return np.asarray(np.argmax(np.nan_to_num(total), axis=1))
