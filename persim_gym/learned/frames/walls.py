"""Walls that data show: extreme values that a continuous coordinate takes again and again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.frames.search import find_geometry
from persim_gym.offline.transitions import Transitions

#: Transitions that end on a wall, and agents, at least; share of all transitions, at most.
ROWS, AGENTS, MOST = 5, 3, 0.2
#: Share of a coordinate's other values that are different: rounded ones stand on many values.
DIFFERENT = 0.5


def find_walls(data: Transitions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper walls of each coordinate ``[d]``, infinite where there is none.

    A speed that is clipped, or a sensor at the end of its range, stands on one and the same value
    with many agents, where all its other values differ. Where an angle turns back is no wall.
    """
    d = data.obs.shape[1]
    geometry = find_geometry(data)
    turning = {c for o in geometry.circles for c in (o.cosine, o.sine)}
    turning |= {angle.column for angle in geometry.angles}
    walls = np.full((2, d), np.inf)
    needed = min(AGENTS, len(np.unique(data.agent)))
    for column in range(d):
        values = data.next_obs[:, column]
        ends = (values.min(), values.max())
        if ends[0] == ends[1] or column in turning:
            continue
        free = values[(values != ends[0]) & (values != ends[1])]
        if len(np.unique(free)) < DIFFERENT * len(free):
            continue
        for side, end in enumerate(ends):
            at = values == end
            if not ROWS <= int(at.sum()) <= MOST * len(values):
                continue
            beyond = data.obs[:, column] < end if side == 0 else data.obs[:, column] > end
            if len(np.unique(data.agent[at])) >= needed and not beyond.any():
                walls[side, column] = end
    return np.where(np.isinf(walls[0]), -np.inf, walls[0]), walls[1]
