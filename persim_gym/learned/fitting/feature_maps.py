"""How the features of a frame move with the state, which a fit over windows has to know."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from persim_gym.learned.features.frame import Frame
from persim_gym.learned.latent.feature_map import AngleColumns, FeatureMap, PastChanges


def feature_map_of(
    frame: Frame, walls: tuple[NDArray[Any], NDArray[Any]] | None = None
) -> FeatureMap | None:
    """Which features of a frame are the state, and how they move.

    Actions are recorded, past ones as the present one; the state is what the changes move, and the
    changes of earlier steps.

    Args:
        frame: The frame.
        walls: Bounds ``[d]`` that observations are put back between after a step.

    Returns:
        ``None`` where the features do not say how they move: of an angle one of cosine and sine is
        missing, or of the past a change between others; and where walls would cut past changes.
    """
    place = {column: index for index, column in enumerate(frame.kept)}
    plain, turning = frame.geometry.plain, frame.geometry.periodic
    moved = [(place[k], int(c)) for k, c in enumerate(plain) if k in place]
    angles = []
    for k, c in enumerate(turning):
        columns = (len(plain) + k, len(plain) + len(turning) + k)
        if not set(columns) <= set(place):
            return None
        cosine, sine = (place[column] for column in columns)
        angles.append(AngleColumns(cosine, sine, int(c), float(frame.unit[c])))
    past = _past_changes(frame)
    if past is None or (past.columns and walls is not None):
        return None
    gains = [float(frame.unit[c] / frame.scale[k]) for k, c in moved]
    states, outputs = [k for k, _ in moved], [c for _, c in moved]
    ends = None if walls is None else frame.between(*walls)
    own = past if past.columns else None
    return FeatureMap(frame.size, states, outputs, gains, angles, walls=ends, past=own)


def _past_changes(frame: Frame) -> PastChanges | None:
    """Changes of earlier steps; ``None`` where one is seen and the one after it is not."""
    c, first = frame.targets, frame.optional[0].start
    place = {column: index for index, column in enumerate(frame.kept)}
    seen = [column for column in frame.optional[0] if column in place]
    observations = 1 + max(((column - first) // c + 1 for column in seen), default=0)
    sizes = frame.size, c, observations * c
    shift, drive, apart = (torch.zeros(len(seen), n, dtype=torch.float64) for n in sizes)
    offset = torch.zeros(len(seen), dtype=torch.float64)
    for row, column in enumerate(seen):
        own, (back, coordinate) = place[column], divmod(column - first, c)
        gain = frame.unit[coordinate] / frame.scale[own]
        offset[row] = -frame.centre[own] / frame.scale[own]
        if not back:
            drive[row, coordinate] = gain
        elif (before := place.get(column - c)) is None:
            return None
        else:
            shift[row, before] = frame.scale[before] / frame.scale[own]
            offset[row] += frame.centre[before] / frame.scale[own]
        apart[row, back * c + coordinate] = gain
        apart[row, (back + 1) * c + coordinate] = -gain
    return PastChanges(tuple(place[column] for column in seen), shift, drive, offset, apart)
