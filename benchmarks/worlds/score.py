"""Errors of open-loop predictions after 1, 10 and 50 steps."""

from __future__ import annotations

import warnings

import numpy as np

from .recording import Recording, Tests
from .world import Floats

HORIZONS = (1, 10, 50)
BEHAVIOURS = ("same", "other")
#: Errors count as at least this, for records are rounded to single precision; and at most that.
LEAST, MOST = 1e-5, 1e3


def errors(recording: Recording, tests: Tests, predicted: Floats) -> dict[str, list[float]]:
    """Errors of each tested agent, in units of each coordinate's standard deviation.

    Args:
        recording: Where the tests are from.
        tests: The tests.
        predicted: Predictions of them ``[n, h, d]``; what is not finite counts as lost.

    Returns:
        By horizon, as text, the root mean square over episodes and coordinates of each agent
        ``[25]``; nan where no episode was as long.
    """
    off = np.nan_to_num(predicted, nan=np.inf) - tests.truth
    with np.errstate(invalid="ignore"):
        for column in recording.world.angles:
            off[..., column] = (off[..., column] + np.pi) % (2 * np.pi) - np.pi
    scaled = np.nan_to_num(off / recording.deviation, nan=MOST, posinf=MOST, neginf=MOST)
    square = np.minimum(scaled**2, MOST**2).mean(axis=2)
    square[~tests.valid] = np.nan
    agents = len(np.unique(tests.agents))
    found = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        for horizon in HORIZONS:
            own = np.nanmean(square[:, horizon - 1].reshape(agents, -1), axis=1)
            found[str(horizon)] = np.maximum(np.sqrt(own), LEAST).tolist()
    return found


def middle_and_tail(own: list[float]) -> tuple[float, float]:
    """Median and ninth decile over agents; nan where no episode was as long."""
    known = np.array(own, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return float("nan"), float("nan")
    return float(np.median(known)), float(np.quantile(known, 0.9))
