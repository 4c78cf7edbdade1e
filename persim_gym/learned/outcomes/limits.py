"""Physical limits of coordinates: declared ones, and the signs that all data have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.geometry.search import find_geometry
from persim_gym.offline.transitions import Transitions

#: Steps that a change is thought to go on for, to see whether a course leads through zero.
AHEAD = 2

#: A sign is no limit where so many were to be seen turning back, and at most a share of one in
#: :data:`TURNED` is.
FEWEST = 2
TURNED = 4


def find_limits(data: Transitions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest possible value of each coordinate ``[d]``, infinite where none is known.

    What was declared holds. A coordinate that nothing was declared of, and that is never negative
    in all the data, or never positive, is taken to stay so: a concentration, a count. A speed that
    happens to have one sign in a short record is recognised by what comes next where the last
    change, going on for :data:`AHEAD` steps, would lead through zero: if the trajectory ends there
    more often than it is seen to turn back, the sign is no limit. In short trajectories most
    transitions are near an end, so that such ends alone say little: at a limit as large a share
    of the other transitions leads through zero and turns back. Angles have none, and neither has
    what never changes.
    """
    d = data.obs.shape[1]
    low, high = np.full(d, -np.inf), np.full(d, np.inf)
    declared = {column: ends for column, *ends in data.bounds}
    geometry = find_geometry(data)
    turning = {c for o in geometry.circles for c in (o.cosine, o.sine)}
    turning |= {angle.column for angle in geometry.angles}
    left = np.repeat(data.lengths, data.lengths) - 1 - data.step
    for column in range(d):
        if column in declared:
            low[column], high[column] = declared[column]
            continue
        if column in turning:
            continue
        before, after = (own[:, column].astype(np.float64) for own in (data.obs, data.next_obs))
        least, most = min(before.min(), after.min()), max(before.max(), after.max())
        if least == most or least < 0 < most:
            continue
        sign = 1.0 if least >= 0 else -1.0
        through = sign * (after + AHEAD * (after - before)) < 0
        if _ends_there(through, left < AHEAD):
            continue
        if sign > 0:
            low[column] = 0.0
        else:
            high[column] = 0.0
    return low, high


def _ends_there(through: NDArray[np.bool_], near: NDArray[np.bool_]) -> bool:
    """Whether trajectories end where their course leads through zero, and do not turn back.

    Args:
        through: Transitions whose change, going on, would lead through zero ``[T]``.
        near: Those too near to the end to be seen turning back ``[T]``.
    """
    ends, turned = int((through & near).sum()), int((through & ~near).sum())
    expected = ends * (~near).sum() / near.sum()  # at a limit so many would be seen to turn back
    return ends > turned and bool(expected >= FEWEST and expected > TURNED * turned)
