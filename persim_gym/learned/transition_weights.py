"""How much each transition counts, where noise is not of the same size everywhere.

Noise that grows with a state (an amount that is known to some percent, a gust that shakes what is
fast) leaves the quiet transitions to say most: least squares listens to the loud ones instead.
After a first fit the variance of what is left is compared with predicted sizes. Where it goes
along with one of them, transitions count by the root of its inverse: half way between equal weights
and those of the likelihood, for what a model misses is no noise, and errors of large states are
errors, too.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Powers of a size that a variance may go along with, and what is added to the size, in its own
#: deviations.
POWERS, FLOORS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0), (0.02, 0.1, 0.3)
#: Mean log likelihood of a transition that weights must gain, on agents that had no part in them,
#: and standard errors of the gain that it must be above zero.
GAIN, SURE = 0.03, 4.0
#: Standard deviations from which residuals count as if they were no larger.
CUT = 5.0
#: Transitions of a half below which nothing is said of its noise.
FEWEST = 100
#: Power of the inverse variance that transitions count by, and most that one does, in units of the
#: mean.
SOFT, MOST = 0.5, 30.0


def precisions(left: Floats, sizes: Floats, agent: NDArray[np.int64]) -> Floats | None:
    """How much each transition counts for each coordinate, ``[T, c]``, on average 1.

    Args:
        left: What a fit leaves of the changes ``[T, c]``.
        sizes: Numbers that are known without the noise, such as predicted states ``[T, k]``.
        agent: ``[T]``.

    Returns:
        ``None`` where the variance is the same everywhere, as far as can be seen.
    """
    numbers = np.unique(agent, return_inverse=True)[1]
    half = numbers % 2 if numbers.max(initial=0) else np.arange(len(agent)) % 2
    parts = [np.flatnonzero(half == part) for part in (0, 1)]
    if min(map(len, parts)) < FEWEST:
        return None
    logs = _logs(sizes)
    found = [_precision(own, logs, parts) for own in left.T]
    if all(own is None for own in found):
        return None
    even = np.ones(len(left))
    return np.stack([even if own is None else own for own in found], axis=1)


def _logs(sizes: Floats) -> list[Floats]:
    """Logarithms of the sizes, with every floor."""
    absolute = np.abs(sizes)
    unit = sizes.std(axis=0)
    columns = [k for k in range(sizes.shape[1]) if unit[k] > 0]
    return [np.log(absolute[:, k] + f * unit[k]) for k, f in itertools.product(columns, FLOORS)]


def _precision(left: Floats, logs: list[Floats], parts: list[NDArray[np.int64]]) -> Floats | None:
    """Of one coordinate ``[T]``."""
    unit = np.quantile(np.abs(left), 0.683)
    if unit <= 0:
        return None
    squares = np.minimum(np.square(left / unit), CUT**2) + 1e-6
    gains: list[Floats] = []
    for own, other in (parts, parts[::-1]):
        power, column = _best(squares, logs, own)
        if power == 0:
            return None
        varied = _variance(squares, logs[column], power, own)
        even = squares[own].mean()
        gains.append(
            0.5 * (np.log(even) + squares / even - np.log(varied) - squares / varied)[other]
        )
    every = np.concatenate(gains)
    if every.mean() < max(GAIN, SURE * every.std() / np.sqrt(len(every))):
        return None
    everything = np.arange(len(squares))
    power, column = _best(squares, logs, everything)
    if power == 0:
        return None
    weight = _variance(squares, logs[column], power, everything) ** -SOFT
    weight = np.minimum(weight, MOST * weight.mean())
    return np.asarray(weight / weight.mean())


def _variance(squares: Floats, logs: Floats, power: float, rows: NDArray[np.int64]) -> Floats:
    """The variance of every transition ``[T]``, of a scale that some of them have."""
    shape = np.exp(power * (logs - logs.mean()))
    return np.asarray(shape * np.mean(squares[rows] / shape[rows]))


def _best(squares: Floats, logs: list[Floats], rows: NDArray[np.int64]) -> tuple[float, int]:
    """The power and the place of the size that make some transitions likeliest; 0 for none."""
    least, best = np.log(squares[rows].mean()), (0.0, 0)
    for place, size in enumerate(logs):
        own = size[rows] - size[rows].mean()
        for power in POWERS:
            price = np.log(np.mean(squares[rows] * np.exp(-power * own)))
            if price < least:
                least, best = price, (power, place)
    return best
