"""Values of a faulty sensor: far from where a column was, and back in the next row.

A column moves from row to row. A glitch leaps away, much further than any step that goes on, and
the next row is back as if nothing had been. What really happens goes on, or comes of something: an
action, a state that leads to it, another column that leaps as well, or the calendar: the end of a
month, a holiday of all agents. Where leaps do so, none of them is a glitch; and of a column in
which nothing goes on, such as rain, nothing is known.

A sensor that is stuck shows one and the same value, which may be among the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.tables.causes import caused

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: By how much the least leap is larger than steps that go on, and than the next smaller leap.
APART, GAP = 2.0, 1.5
#: Share of a leap by which the row after it may be beside the row before it.
BACK = 0.5
#: Largest share of the rows that are glitches; steps that may be as large all the same, as a share
#: of the glitches: those that stand at an end or beside each other.
MOST, BESIDE = 0.05, 0.2
#: Standard deviation of a column in its trajectories, in units of its steps, from which it goes on;
#: where glitches are few, they have to stand out of a column that is smoother.
STEADY, SMOOTH = 1.0, 2.0
#: Glitches from which few of them are no chance.
FEWEST = 5
#: Share of a column's values that differ, of one that is never twice the same; and by how much
#: leaps to one value are larger than its steps, in the middle of each.
DIFFERENT, CLEAR = 0.9, 4.0
#: Widths of all other values' range by which fewer are away from them.
FAR = 3.0


def glitches(values: Floats, follows: Flags, actions: Floats, time: Floats | None = None) -> Flags:
    """Which values ``[n, d]`` a faulty sensor has made.

    Args:
        values: State columns, trajectory after trajectory in the order of time ``[n, d]``; nan
            where there is none.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
        actions: Numbers of the action that was taken in each row ``[n, a]``; nan where there is
            none.
        time: When each row was ``[n]``; by default its place in its trajectory.
    """
    found = np.zeros(values.shape, dtype=np.bool_)
    if len(values) < 3:
        return found
    whose = np.append(0, np.cumsum(~follows))
    for column, own in enumerate(values.T):
        found[:, column] = _leaps(own, follows, whose) | _stuck(own, follows)
    return found & ~caused(found, values, follows, actions, time)


def _leaps(values: Floats, follows: Flags, whose: NDArray[np.int64]) -> Flags:
    """Rows ``[n]`` in which a column leaps away and back, as it never does otherwise."""
    step = np.where(follows, np.diff(values), 0.0)
    there, back = step[:-1], step[1:]
    size = np.minimum(np.abs(there), np.abs(back))
    leap = np.zeros(len(values))
    leap[1:-1] = np.where((there * back < 0) & (np.abs(there + back) <= BACK * size), size, 0.0)
    most = int(MOST * len(values)) + 1
    largest = -np.sort(np.partition(-leap, most - 1)[:most]) if most < len(leap) else None
    if largest is None:
        return np.zeros(len(values), dtype=np.bool_)
    # A gap in the leaps' sizes: below it are those of what goes on.
    for last in np.flatnonzero(largest[:-1] > GAP * largest[1:])[::-1]:
        found = leap >= largest[last]
        if _stands_out(found, values, step, follows, whose, largest[last]):
            return _with_ends(found, np.abs(step) >= largest[last] / APART, follows)
    return np.zeros(len(values), dtype=np.bool_)


def _stuck(values: Floats, follows: Flags) -> Flags:
    """Rows ``[n]`` in which a column that is never twice the same is at one value, each alone."""
    none = np.zeros(len(values), dtype=np.bool_)
    known = values[~np.isnan(values)]
    if not len(known):
        return none
    different, counts = np.unique(known, return_counts=True)
    often = int(counts.argmax())
    if not FEWEST <= counts[often] <= MOST * len(known):
        return none
    if len(different) < DIFFERENT * len(known):
        return none
    found = values == different[often]
    step, inner = np.abs(np.diff(values)), found[1:-1] & follows[1:] & follows[:-1]
    leap = np.minimum(step[:-1], step[1:])[inner]
    usual = step[follows & ~found[1:] & ~found[:-1]]
    beside = int((found[1:] & found[:-1]).sum())
    if beside > BESIDE * counts[often] or not len(leap) or not len(usual):
        return none
    return found if np.median(leap) > CLEAR * np.median(usual) else none


def _stands_out(
    found: Flags,
    values: Floats,
    step: Floats,
    follows: Flags,
    whose: NDArray[np.int64],
    least: float,
) -> bool:
    """Whether leaps are unlike all that goes on in a column that goes on."""
    count, usual = int(found.sum()), follows & ~found[1:] & ~found[:-1]
    steps = np.abs(step[usual])
    large = steps >= least / APART
    if large.sum() > BESIDE * count:
        return False
    steps, rest = steps[~large], ~found & ~np.isnan(values)
    number = np.bincount(whose[rest])
    mean = np.bincount(whose[rest], values[rest]) / np.maximum(number, 1)
    apart = np.sort(np.abs(values[rest] - mean[whose[rest]]))
    apart = apart[: len(apart) - int(BESIDE * count)]
    rests = not len(steps) or np.median(steps) == 0  # counts and flags stand still, and then leap
    steady = STEADY if count >= FEWEST else SMOOTH
    if rests or np.mean(apart**2) < steady**2 * np.mean(steps**2):
        return False
    if count >= FEWEST:
        return True
    low, high = values[rest].min(), values[rest].max()
    beyond = np.maximum(values[found] - high, low - values[found])
    return bool((beyond > FAR * (high - low)).all())


def _with_ends(found: Flags, large: Flags, follows: Flags) -> Flags:
    """The rows, and those from which every step to a row that is none of them is large."""
    to_next = follows & ~found[1:]
    to_last = follows & ~found[:-1]
    steps = np.append(to_next, False).astype(int) + np.append(False, to_last)
    far = np.append(to_next & large, False).astype(int) + np.append(False, to_last & large)
    return np.asarray(found | ((steps > 0) & (far == steps)))
