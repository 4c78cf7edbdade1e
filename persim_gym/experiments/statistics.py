"""What repeats say: means, interquartile means, and their intervals.

A seed is a repeat of everything: other agents in the data, other start states, another fit.
Episodes of one seed share all that, so they are no repeats of each other; intervals are made of
seeds first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Draws of the bootstrap, and the share of them inside an interval.
DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said of one quantity. What cannot be said is ``nan``.

    Attributes:
        mean: Mean over seeds of each seed's own mean over episodes.
        sd: Standard deviation of these over seeds, of a sample; ``nan`` for one seed.
        iqm: Interquartile mean over all seeds and episodes.
        low: Lower end of the interquartile mean's interval; ``nan`` for one seed.
        high: Upper end.
        seeds: Seeds of which the quantity is known.
        episodes: Values of each seed: episodes for returns, one for what is an average already.
    """

    mean: float
    sd: float
    iqm: float
    low: float
    high: float
    seeds: int
    episodes: int

    def to_json(self) -> dict[str, float]:
        """Plain types."""
        return asdict(self)


def summarise(
    values: ArrayLike, rng: np.random.Generator, *, draws: int = DRAWS, level: float = LEVEL
) -> list[Summary]:
    """Summaries of ``q`` quantities that were measured together.

    The bootstrap draws seeds with replacement, then episodes within each drawn seed; all quantities
    see the same draws. With one seed there is no interval, however many its episodes: what another
    seed would give is unknown.

    Args:
        values: ``[q, s]`` of ``s`` seeds, or ``[q, s, e]`` of ``e`` episodes each. A ``nan`` is not
            known, and a seed with one is left out of its quantity. Infinite values are values.
        rng: Where the draws come from.
        draws: How many.
        level: Share of the draws inside an interval.

    Raises:
        ValueError: If ``values`` has another shape or no seed, or ``draws`` or ``level`` is out of
            range.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[1] == 0 or array.shape[2] == 0:
        raise ValueError(
            f"values must be [quantities, seeds] or [quantities, seeds, episodes], got "
            f"{np.shape(values)}"
        )
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws must be 1 or more and level in (0, 1), got {draws}, {level}")
    known: NDArray[np.bool_] = np.logical_not(np.isnan(array).any(axis=2))  # [q, s]
    counts: dict[int, NDArray[np.int64]] = {}
    summaries = []
    for own, there in zip(array, known, strict=True):
        seeds = int(there.sum())
        if seeds not in counts and seeds > 1:
            counts[seeds] = bootstrap_counts(seeds, array.shape[2], rng, draws)
        summaries.append(_summary(own[there], counts.get(seeds), level))
    return summaries


def _summary(
    values: NDArray[np.float64], counts: NDArray[np.int64] | None, level: float
) -> Summary:
    """Of one quantity ``[s, e]``, all known."""
    seeds, episodes = values.shape
    nothing = float("nan")
    if seeds == 0:
        return Summary(nothing, nothing, nothing, nothing, nothing, 0, episodes)
    by_seed = values.mean(axis=1)
    middle = float(interquartile_mean(values.ravel()))
    if counts is None:
        return Summary(float(by_seed.mean()), nothing, middle, nothing, nothing, 1, episodes)
    drawn = interquartile_mean(values.ravel(), counts)
    # Without interpolation: it has no answer between two infinite values.
    low = float(np.quantile(drawn, (1 - level) / 2, method="lower"))
    high = float(np.quantile(drawn, (1 + level) / 2, method="higher"))
    with np.errstate(invalid="ignore"):
        # Equal values do not vary: not even by the rounding error of their mean.
        sd = float(by_seed.std(ddof=1)) if np.ptp(by_seed) else 0.0
    return Summary(float(by_seed.mean()), sd, middle, low, high, seeds, episodes)


def interquartile_mean(
    values: ArrayLike, counts: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Mean of the middle half; values at its edges count by the share that lies inside.

    Args:
        values: ``[n]``.
        counts: How often each value is there, for each of ``b`` samples ``[b, n]`` of one size;
            once each by default.

    Returns:
        ``[b]``, or a single number without ``counts``.

    Raises:
        ValueError: If there are no values, or the counts do not fit.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"values must be a list of one or more numbers, got shape {array.shape}")
    weights = np.ones((1, len(array)), dtype=np.int64) if counts is None else counts
    if weights.ndim != 2 or weights.shape[1] != len(array):
        raise ValueError(f"counts must be [samples, {len(array)}], got {weights.shape}")
    order = np.argsort(array, kind="stable")
    weights, ordered = weights[:, order], array[order]
    size = weights.sum(axis=1, keepdims=True)
    after = weights.cumsum(axis=1)
    # Of each value, the part between a quarter and three quarters of the sample.
    inside = np.minimum(after, 0.75 * size) - np.maximum(after - weights, 0.25 * size)
    inside = np.maximum(inside, 0.0)
    with np.errstate(invalid="ignore"):  # nothing of an infinite value is nothing
        sums = np.where(inside > 0, inside * ordered, 0.0).sum(axis=1)
    means: NDArray[np.float64] = sums / (0.5 * size[:, 0])
    return means if counts is not None else means[0]


def bootstrap_counts(
    seeds: int, episodes: int, rng: np.random.Generator, draws: int
) -> NDArray[np.int64]:
    """How often each episode of each seed is in each draw ``[b, s * e]``.

    A draw has as many seeds as there are, drawn with replacement; each time that a seed is drawn,
    its episodes are drawn anew, with replacement.
    """
    drawn = rng.integers(seeds, size=(draws, seeds, 1))
    within = rng.integers(episodes, size=(draws, seeds, episodes))
    places = drawn * episodes + within + np.arange(draws)[:, None, None] * (seeds * episodes)
    flat = np.bincount(places.ravel(), minlength=draws * seeds * episodes)
    return flat.reshape(draws, seeds * episodes)


def geometric_mean(values: ArrayLike, axis: int = 0) -> NDArray[np.float64]:
    """Geometric mean of errors along an axis; ``nan`` where one is not known.

    Where one is infinite the mean is, too, even beside an error of zero.

    Raises:
        ValueError: If a value is negative.
    """
    array = np.asarray(values, dtype=np.float64)
    if (array < 0).any():
        raise ValueError(f"a geometric mean is of errors, got {np.nanmin(array)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: NDArray[np.float64] = np.exp(np.log(array).mean(axis=axis))
    worst = np.isinf(array).any(axis=axis) & ~np.isnan(array).any(axis=axis)
    return np.where(worst, np.inf, mean)


def best_of(summaries: Sequence[Summary | None], *, lower: bool) -> int | None:
    """Which of several methods is the best, if that is clear.

    Args:
        summaries: One for each method; ``None`` for one that is missing.
        lower: Whether less is better.

    Returns:
        The index of the one whose interval lies wholly on the better side of every other's;
        ``None`` if there is none, if one has no interval, or if there are fewer than two.
    """
    there = [(i, own) for i, own in enumerate(summaries) if own is not None and own.seeds > 0]
    if len(there) < 2 or any(np.isnan(own.low) or np.isnan(own.high) for _, own in there):
        return None
    for i, own in there:
        others = [other for k, other in there if k != i]
        if all(own.high < o.low if lower else own.low > o.high for o in others):
            return i
    return None
