"""Distances of coordinates of which some go round."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def short_way(away: NDArray[Any], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances ``[..., d]``, of coordinates with a full ``turn`` above 0 the short way round."""
    if not turn.any():
        return np.asarray(away)
    full = np.where(turn > 0, turn, 1.0)
    return np.asarray(np.where(turn > 0, away - full * np.round(away / full), away))
