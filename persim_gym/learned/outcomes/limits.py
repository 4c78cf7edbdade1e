"""Physical limits of coordinates: declared ones, and the signs that all data have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.frames.search import find_geometry
from persim_gym.offline.transitions import Transitions


def find_limits(data: Transitions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest possible value of each coordinate ``[d]``, infinite where none is known.

    What was declared holds. A coordinate that nothing was declared of, and that is never negative
    in all the data, or never positive, is taken to stay so: a concentration, a count. A speed that
    happens to have one sign in a short record is told apart by where trajectories end: if more of
    them end on their way through zero than have turned back before it, the sign is no limit.
    Angles have none, and neither has what never changes.
    """
    d = data.obs.shape[1]
    low, high = np.full(d, -np.inf), np.full(d, np.inf)
    declared = {column: ends for column, *ends in data.bounds}
    geometry = find_geometry(data)
    turning = {c for o in geometry.circles for c in (o.cosine, o.sine)}
    turning |= {angle.column for angle in geometry.angles}
    last = np.zeros(len(data), dtype=np.bool_)
    last[data.starts + data.lengths - 1] = True
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
        through = sign * (after + (after - before)) < 0
        if (through & last).sum() > (through & ~last).sum():
            continue
        if sign > 0:
            low[column] = 0.0
        else:
            high[column] = 0.0
    return low, high


__all__ = ["find_limits"]
