"""Columns that are wrapped into one turn, such as a heading from 0 to 360.

Where such a column goes over the end of its range and back, a value seems to leap away and to
return in the next row. That is neither a glitch nor an outlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Ranges that angles are wrapped into, as turn and least value.
RANGES = ((2 * math.pi, -math.pi), (2 * math.pi, 0.0), (360.0, -180.0), (360.0, 0.0))
#: Share of a turn by which values may be out of their range, that a jump is at least, and that
#: nearly all other steps are at most.
OUTSIDE, JUMP, ORDINARY = 0.02, 0.75, 0.3
#: Jumps that are needed; the share of the other steps that are ordinary, for some values may be
#: wrong; eighths of a turn in which values are, each with at least such a share of all.
JUMPS, NEARLY, EIGHTHS, SEEN = 3, 0.9, 4, 0.01


def full_turns(values: Floats, follows: Flags, declared: Sequence[tuple[int, float]]) -> Floats:
    """Full turns of columns that are declared as angles or seem wrapped, 0 of the others ``[d]``.

    Args:
        values: State columns, trajectory after trajectory ``[n, d]``; nan where there is none.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
        declared: Columns that are angles, each with a full turn.
    """
    turns = np.array([_turn(own, follows) for own in values.T])
    for column, period in declared:
        turns[column] = period
    return turns


def unwrapped(values: Floats, turns: Floats) -> Floats:
    """Values ``[n, d]`` with columns that turn ``[d]`` without their jumps."""
    found = values.copy()
    for column in np.flatnonzero(turns):
        known = ~np.isnan(values[:, column])
        found[known, column] = np.unwrap(values[known, column], period=turns[column])
    return found


def _turn(values: Floats, follows: Flags) -> float:
    """The turn that a column ``[n]`` is wrapped into, or 0."""
    known = values[~np.isnan(values)]
    step = np.abs(np.diff(values))[follows]
    step = step[~np.isnan(step)]
    if not len(known) or not len(step):
        return 0.0
    low, high = known.min(), known.max()
    for period, least in RANGES:
        margin = OUTSIDE * period
        if low < least - margin or high > least + period + margin or high - low < JUMP * period:
            continue
        jumps = step > JUMP * period
        ordinary = step[~jumps]
        if jumps.sum() < JUMPS or not len(ordinary):
            continue
        seen, _ = np.histogram(known, 8, (least, least + period))
        around = (seen >= SEEN * len(known)).sum() >= EIGHTHS
        if around and np.quantile(ordinary, NEARLY) <= ORDINARY * period:
            return period
    return 0.0
