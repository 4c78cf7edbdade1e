"""Walls that data show: extreme values that a continuous coordinate takes again and again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.geometry.search import find_geometry
from persim_gym.offline.transitions import Transitions

#: Transitions that end on a wall, and agents, at least; share of all transitions, at most: without
#: more evidence, and where the others say that most of these would have gone further.
ROWS, AGENTS, MOST, MOST_CUT = 5, 3, 0.2, 0.6
#: Share of the transitions on a wall that would have gone further, and transitions that say so.
FURTHER, MEASURED = 0.75, 20_000
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
            if not ROWS <= int(at.sum()) <= MOST_CUT * len(values):
                continue
            if at.sum() > MOST * len(values) and not _cut(data, column, at, side):
                continue
            beyond = data.obs[:, column] < end if side == 0 else data.obs[:, column] > end
            if len(np.unique(data.agent[at])) >= needed and not beyond.any():
                walls[side, column] = end
    return np.where(np.isinf(walls[0]), -np.inf, walls[0]), walls[1]


def _cut(data: Transitions, column: int, at: NDArray[np.bool_], side: int) -> bool:
    """Whether a regression on the other transitions takes those on a value beyond it.

    A charge that is used up would go below zero, if it could. An amount that is often zero would
    not: it is not cut there, and to leave these transitions out of a fit would be wrong.
    """
    step = -(-len(data) // MEASURED)
    rows = np.arange(0, len(data), step)
    obs = data.obs[rows].astype(np.float64)
    action = data.action[rows]
    coded = np.eye(int(data.action.max()) + 1)[action][:, 1:] if action.ndim == 1 else action
    own = np.concatenate([obs, coded.astype(np.float64)], axis=1)
    own = (own - own.mean(0)) / np.maximum(own.std(0), 1e-12)
    left, right = np.triu_indices(own.shape[1])
    inputs = np.concatenate([np.ones((len(own), 1)), own, own[:, left] * own[:, right]], axis=1)
    free, end = ~at[rows], data.next_obs[at, column][0]
    weights = np.linalg.lstsq(inputs[free], data.next_obs[rows][free, column], rcond=None)[0]
    over = inputs[~free] @ weights - float(end)
    return bool(len(over) and (over < 0 if side == 0 else over > 0).mean() >= FURTHER)
