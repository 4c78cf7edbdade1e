"""Whether strange values have a cause: then they are none.

What really happens comes of something: an action, a state that leads to it, another column that
moved, or the calendar. Faults of a sensor come at any time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Values from which it can be tested whether they have a cause, and standard errors by which what
#: was before them is unlike what is before other rows.
FEWEST, SURE = 5, 3.5
#: Steps between values from which they may be regular, and by how many these may differ.
APART_STEPS, REGULAR = 4.0, 1.5


def caused(
    found: Flags,
    values: Floats,
    follows: Flags,
    actions: Floats,
    time: Floats | None = None,
    least: float = 0.0,
) -> Flags:
    """Strange values of the columns in which these have a cause ``[n, d]``.

    Args:
        found: Strange values ``[n, d]``.
        values: State columns, trajectory after trajectory in the order of time ``[n, d]``; nan
            where there is none.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
        actions: Numbers of the action that was taken in each row ``[n, a]``; nan where there is
            none.
        time: When each row was ``[n]``; by default its place in its trajectory.
        least: By how much what was before them has to be unlike, in standard deviations.
    """
    none = np.zeros_like(found)
    if not found.any():
        return none
    whose = np.append(0, np.cumsum(~follows))
    step = np.where(follows[:, None], np.abs(np.diff(values, axis=0)), np.nan)
    step[found[1:] | found[:-1]] = np.nan
    known = np.where(found, np.nan, values)
    places = (np.arange(len(values)) - np.searchsorted(whose, whose)).astype(np.float64)
    time = places if time is None else time
    states, acted, moved, place = (
        _ranks(part, whose[-len(part) :]) for part in (known, actions, step, places[:, None])
    )
    before = np.concatenate([states[:-1], acted[:-1], place[1:], moved], axis=1)[follows]
    for column in np.flatnonzero(found.any(axis=0)).tolist():
        leaps, rows = np.flatnonzero(found[:, column]), found[1:, column][follows]
        others = np.delete(before, before.shape[1] - len(found[0]) + column, axis=1)
        known_cause = rows.sum() >= FEWEST and _caused(others, rows, least)
        if known_cause or _by_calendar(leaps, time, follows):
            none[:, column] = found[:, column]
    return none


def _ranks(values: Floats, whose: NDArray[np.int64]) -> Floats:
    """Ranks of values ``[n, k]`` in their trajectories, from 0 to 1; nan stays."""
    found = np.full(values.shape, np.nan)
    for column, own in enumerate(values.T):
        rows = np.flatnonzero(~np.isnan(own))
        order = rows[np.lexsort((own[rows], whose[rows]))]
        if not len(order):
            continue
        new = np.append(True, whose[order][1:] != whose[order][:-1])
        tied = np.cumsum(np.append(True, (own[order][1:] != own[order][:-1]) | new[1:])) - 1
        start = np.flatnonzero(new)
        length = np.diff(np.append(start, len(order)))
        place = np.arange(len(order)) - np.repeat(start, length) + 0.5
        alike = np.bincount(tied, place) / np.bincount(tied)
        found[order, column] = alike[tied] / np.repeat(length, length)
    return found


def _by_calendar(leaps: NDArray[np.int64], time: Floats, follows: Flags) -> bool:
    """Whether most leaps are regular, or come to most of the agents at the same time.

    Args:
        leaps: Rows ``[k]``.
        time: Of each row ``[n]``.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
    """
    step = float(np.median(np.diff(time)[follows]))
    apart = np.diff(time[leaps])
    apart = apart[apart > 0]  # below it another agent begins
    middle = np.median(apart) if len(apart) >= FEWEST - 1 else 0.0
    regular = np.abs(apart - middle) < REGULAR * step
    if middle > APART_STEPS * step and regular.mean() > 0.5:
        return True
    if not len(leaps):
        return False
    _, when, agents = np.unique(time, return_inverse=True, return_counts=True)
    own = when[leaps]
    together = np.bincount(own)[own]
    return bool(((together > 1) & (together > agents[own] / 2)).mean() > 0.5)


def _caused(before: Floats, rows: Flags, least: float) -> bool:
    """Whether ranks of what was before ``[n, q]`` are no random ones in some rows ``[n]``.

    They may be at one side, or at both.
    """
    for ranks in before.T:
        there = ~np.isnan(ranks)
        for part in (ranks, np.abs(ranks - 0.5)):
            every, own = part[there], part[there & rows]
            sure = every.std() * max(SURE * np.sqrt(len(own)), least * len(own))
            if abs((own - every.mean()).sum()) > sure:
                return True
    return False
