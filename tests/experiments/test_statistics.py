"""Statistics of repeats: known answers, and intervals that cover what they should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments.statistics import (
    Summary,
    best_of,
    bootstrap_counts,
    geometric_mean,
    interquartile_mean,
    summarise,
)

NAN = math.nan


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def between(low: float, high: float, seeds: int = 5) -> Summary:
    middle = (low + high) / 2
    return Summary(middle, 1.0, middle, low, high, seeds, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 2.5),
        ([8.0, 1.0, 2.0, 100.0, 3.0, 4.0, 5.0, -50.0], 3.5),  # in order: -50 1 | 2 3 4 5 | 8 100
        ([0.0, 1.0, 2.0, 4.0, 100.0], (0.75 * 1 + 2 + 0.75 * 4) / 2.5),
        ([1.0, 2.0, 9.0], (0.25 * 1 + 2 * 1 + 0.25 * 9) / 1.5),
        ([1.0, 5.0], 3.0),
        ([7.0], 7.0),
        ([math.inf, 1.0, 2.0, 3.0], 2.5),
        ([math.inf, 1.0], math.inf),
    ],
)
def test_interquartile_mean(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == pytest.approx(expected)


def test_interquartile_mean_of_counts_is_that_of_repeated_values() -> None:
    values = rng().normal(size=12)
    counts = bootstrap_counts(4, 3, rng(), 50)
    expected = [interquartile_mean(np.repeat(values, own)) for own in counts]
    np.testing.assert_allclose(interquartile_mean(values, counts), expected)


def test_bootstrap_draws_seeds_then_episodes_within_them() -> None:
    counts = bootstrap_counts(3, 4, rng(), 4000)
    assert counts.shape == (4000, 12)
    by_seed = counts.reshape(4000, 3, 4).sum(axis=2)
    # Whole seeds come and go: each is there with all four of its places, or with none.
    assert set(np.unique(by_seed)) == {0, 4, 8, 12}
    assert (by_seed.sum(axis=1) == 12).all()
    # (2/3)^3 of the draws are without a given seed; of drawn episodes, not all are different.
    np.testing.assert_allclose((by_seed == 0).mean(axis=0), (2 / 3) ** 3, atol=0.03)
    once = counts.reshape(4000, 3, 4)[by_seed == 4]
    np.testing.assert_allclose((once == 0).mean(), (3 / 4) ** 4, atol=0.02)


def test_mean_and_deviation_are_of_seeds() -> None:
    returns = np.array([[[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]])  # of seeds: 2, 6, 10
    (own,) = summarise(returns, rng())
    assert (own.mean, own.sd) == (6.0, 4.0)
    assert own.iqm == pytest.approx((0.5 * 3 + 5 + 7 + 0.5 * 9) / 3)
    assert (own.seeds, own.episodes) == (3, 2)
    assert own.low < own.iqm < own.high


def test_equal_values_have_no_spread() -> None:
    (own,) = summarise([[0.4, 0.4, 0.4]], rng())
    assert own.sd == 0  # where the mean of three is not exact


def test_interval_is_of_seeds_however_many_the_episodes() -> None:
    # Two seeds far apart, a thousand episodes each: these must not make the interval narrow.
    noise = rng().normal(size=(2, 1000))
    (own,) = summarise((np.array([[0.0], [100.0]]) + noise)[None], rng(), draws=500)
    assert own.low < 1
    assert own.high > 99


def test_interval_widens_with_noise_within_seeds() -> None:
    exact = np.tile(np.linspace(0, 1, 5)[:, None], (1, 3))
    noisy = exact + np.array([-5.0, 0.0, 5.0])
    first, second = summarise([exact, noisy], rng())
    assert second.high - second.low > 1.5 * (first.high - first.low)


def test_interval_covers_the_truth() -> None:
    """Nominal 95 %: somewhat less with ten seeds, and far from always or never."""
    values = rng().normal(size=(400, 10))
    inside = [own.low <= 0 <= own.high for own in summarise(values, rng())]
    assert 0.85 < np.mean(inside) < 0.97


def test_interval_narrows_with_the_level() -> None:
    values = rng().normal(size=(1, 10))
    (wide,), (narrow,) = (summarise(values, rng(), level=level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_same_generator_same_interval() -> None:
    values = rng().normal(size=(2, 6))
    assert summarise(values, rng()) == summarise(values, rng())
    assert summarise(values, rng()) != summarise(values, np.random.default_rng(1))


def test_one_seed_has_no_spread() -> None:
    (own,) = summarise([[[1.0, 2.0, 9.0]]], rng())
    assert (own.mean, own.iqm, own.seeds) == (4.0, 3.0, 1)
    assert math.isnan(own.sd)
    assert math.isnan(own.low)
    assert math.isnan(own.high)


def test_unknown_seeds_are_left_out_of_their_quantity_alone() -> None:
    first, second, third = summarise([[1.0, 2.0, 3.0], [1.0, NAN, 3.0], [NAN] * 3], rng())
    assert (first.mean, first.seeds) == (2.0, 3)
    assert (second.mean, second.seeds, second.low, second.high) == (2.0, 2, 1.0, 3.0)
    assert math.isnan(third.mean)
    assert third.seeds == 0


def test_infinite_error_counts() -> None:
    (own,) = summarise([[1.0, 2.0, 3.0, math.inf]], rng())
    assert own.mean == math.inf
    assert own.iqm == 2.5
    assert own.high == math.inf
    assert math.isnan(own.sd)


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ([1.0], {}, "values must be"),
        ([[]], {}, "values must be"),
        ([[1.0]], {"draws": 0}, "draws must be"),
        ([[1.0]], {"level": 1.0}, "level in"),
    ],
)
def test_bad_input(values: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        summarise(values, rng(), **options)


def test_bad_input_of_the_interquartile_mean() -> None:
    with pytest.raises(ValueError, match="one or more numbers"):
        interquartile_mean([])
    with pytest.raises(ValueError, match=r"counts must be \[samples, 2\]"):
        interquartile_mean([1.0, 2.0], np.ones((1, 3), dtype=np.int64))


def test_geometric_mean() -> None:
    np.testing.assert_allclose(geometric_mean([[1.0, 4.0], [100.0, 4.0]]), [10.0, 4.0])
    np.testing.assert_allclose(geometric_mean([[1.0, 4.0]], axis=1), [2.0])
    assert geometric_mean([0.0, 4.0]) == 0
    assert geometric_mean([1.0, math.inf]) == math.inf
    assert geometric_mean([0.0, math.inf]) == math.inf  # known, and as bad as can be
    assert math.isnan(geometric_mean([NAN, math.inf]))
    assert math.isnan(geometric_mean([1.0, NAN]))
    with pytest.raises(ValueError, match="errors"):
        geometric_mean([-1.0])


@pytest.mark.parametrize(
    ("intervals", "lower", "best"),
    [
        ([(1, 2), (3, 4)], True, 0),
        ([(1, 2), (3, 4)], False, 1),
        ([(1, 3), (2, 4)], True, None),  # they overlap
        ([(1, 2), (2, 4)], True, None),  # they touch
        ([(5, 6), (3, 4), (1, 2)], True, 2),
        ([(1, 2), (3, 4), (1.5, 6)], True, None),  # one of the others overlaps
        ([(1, 2), None, (3, 4)], True, 0),
        ([(1, 2), None], True, None),  # nobody to compare with
        ([(1, 2), (NAN, NAN)], True, None),  # what has no interval cannot be parted from
        ([(3, 4), (1, math.inf)], True, None),
        ([(3, 4), (5, math.inf)], True, 0),
    ],
)
def test_best(intervals: list[Any], lower: bool, best: int | None) -> None:
    summaries = [None if ends is None else between(*ends) for ends in intervals]
    assert best_of(summaries, lower=lower) == best
