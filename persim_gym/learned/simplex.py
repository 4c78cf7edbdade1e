"""Least squares over convex weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def simplex_least_squares(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights ``w >= 0``, ``sum w = 1`` that make ``w . gram . w`` least.

    Multiplicative steps keep them in their set; the function is convex, so that they end well.
    """
    k = len(gram)
    weights = np.full(k, 1.0 / k)
    size = float(np.abs(gram).max())
    if size <= 0:
        return weights
    gram = gram / size
    for _ in range(2000):
        slope = gram @ weights
        moved = weights * np.exp(-2.0 * (slope - slope.min()))
        moved /= moved.sum()
        if np.abs(moved - weights).max() < 1e-7:
            return np.asarray(moved)
        weights = moved
    return weights
