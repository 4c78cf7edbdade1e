"""What candidates are worth, and which is the best."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.learned.comparison.holdout import Errors, Part
from persim_gym.learned.comparison.score import Score, score_of, sensible_steps, winner_of


def test_the_middle_agent_and_the_ninth_decile_count_alike() -> None:
    sizes = np.linspace(0.1, 1.1, 11)
    left = np.stack([sizes, 2 * sizes], axis=1)[..., None]
    errors = Errors(left, np.ones((11, 2), dtype=np.bool_), np.arange(11))
    found = score_of(errors, (1, 10), 0.25, 3.0)
    assert found.median == pytest.approx({1: 0.6, 10: 1.2})
    assert found.ninth_decile == pytest.approx({1: 1.0, 10: 2.0})
    assert found.score == pytest.approx(0.5 * (math.log(0.6 * 1.0) + math.log(1.2 * 2.0)) / 2)
    assert (found.escapes, found.seconds) == (0.25, 3.0)


def test_horizons_are_those_of_enough_stretches() -> None:
    def part(*longest: int) -> Part:
        nothing = np.zeros(0, dtype=np.int64)
        return Part(nothing, nothing, nothing, np.array(longest))

    assert sensible_steps([part(60, 60), part(60)], (1, 10, 50)) == [1, 10, 50]
    assert sensible_steps([part(12, 12, 12)], (1, 10, 50)) == [1, 10]
    assert sensible_steps([part(30, 30, 30)], (1, 10, 50)) == [1, 10, 30]  # and the longest
    assert sensible_steps([part(*[5] * 9, 60)], (1, 10, 50)) == [1, 5]  # one stretch is not enough
    assert sensible_steps([], (1, 10)) == []


def test_the_best_is_one_that_stays_and_of_close_ones_one_that_goes_on() -> None:
    def winner(polynomials: tuple[str, ...] = (), **scores: Score) -> str:
        return winner_of(scores, polynomials)

    assert winner(a=Score(-1.0), b=Score(-2.0)) == "b"
    assert winner(a=Score(-1.0), b=Score(-2.0, escapes=0.5)) == "a"
    assert winner(a=Score(-1.0), b=Score(-3.0, escapes=0.5)) == "b"  # 4 times worse is too much
    assert winner(a=Score(-1.0), b=Score(-2.0, escapes=0.06)) == "b"  # as good as within the limit
    assert winner(a=Score(-1.0), b=Score(-1.5, escapes=0.16)) == "a"
    # A polynomial that is nearly the law, one that approximates it, and one that is far from it.
    assert winner(("a",), a=Score(-6.95), b=Score(-7.1)) == "a"
    assert winner(("a",), a=Score(-6.95), b=Score(-7.2)) == "b"
    assert winner(("a",), a=Score(-6.1), b=Score(-6.0)) == "b"
    assert winner(("a",), a=Score(-6.3), b=Score(-6.0)) == "a"
    assert winner(("a",), a=Score(-2.0), b=Score(-1.9)) == "a"
    assert winner(("a",), a=Score(-1.9), b=Score(-2.0)) == "b"
    assert winner(a=Score(-1.0), b=Score(-2.0, doubt=2.0)) == "b"
    assert winner(a=Score(-1.0), b=Score(-2.0, doubt=3.6)) == "a"
    assert winner(a=Score(-1.0), b=Score(-3.3, doubt=4.0)) == "b"  # a tenth of the error
