"""The walk over degrees and ranks, on tables of errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned.closed_form.search import DEGREES, Trial, Walk
from persim_gym.learned.config import EFFORTS


class Table:
    """Degrees and ranks whose errors are known."""

    def __init__(self, errors: Any, escapes: Any = lambda d, r: 0.0) -> None:
        self.errors, self.escapes = errors, escapes

    def most_rank(self, degree: int, asked: bool = False) -> tuple[int, str]:
        return 12, ""

    def work(self, degree: int, rank: int) -> float:
        return 1e8

    def attempt(self, degree: int, rank: int) -> Trial:
        error = self.errors(degree, rank)
        return Trial(
            degree, rank, 0.0, float(np.log(error)), error, error, self.escapes(degree, rank),
            rank * (degree + 1) ** 2,
        )  # fmt: skip


def by_rank(*errors: float) -> Any:
    return lambda degree, rank: errors[min(rank, len(errors)) - 1]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (by_rank(0.39, 0.37, 0.36, 0.005, 0.005), (1, 4)),  # nothing to see at ranks 2 and 3
        (by_rank(0.10, 0.10, 0.10, 0.0001, 0.0001), (3, 4)),  # nor where much is explained
        (by_rank(*[0.38] * 7, 0.0001), (5, 8)),
        (by_rank(*[0.38] * 12), (1, 1)),  # and at some point it ends
        # Degree and rank need each other: neither alone shows anything.
        (lambda d, r: 0.15 if r < 4 or d < 3 else 0.001, (3, 4)),
        (lambda d, r: 0.3 / (1 + max(0, d - 1) * max(0, r - 1)) ** 2, (12, 12)),
        (lambda d, r: 0.1 if d % 2 else 0.1 / d**2, (12, 1)),  # an even law
        (lambda d, r: 0.2 / 1.1**r, (1, 11)),  # small gains count together
    ],
)
def test_the_search_goes_on_where_something_is_missing(errors: Any, expected: Any) -> None:
    walk = Walk(Table(errors), "thorough")
    found = walk.run(DEGREES, None, forced=False)
    assert found is not None
    assert (found.degree, found.rank) == expected
    assert walk.ended


def test_an_unstable_candidate_may_be_the_way_to_a_stable_one() -> None:
    leaving = lambda d, r: 0.5 if d in (2, 3) else 0.0  # noqa: E731
    found = Walk(Table(lambda d, r: 0.4 / 4**d, leaving)).run(DEGREES, None, forced=False)
    assert found is not None
    assert found.degree > 3


def test_a_budget_ends_a_search_and_it_is_said() -> None:
    table = Table(lambda d, r: 0.9 / (d * r))
    walks = {effort: Walk(table, effort) for effort in EFFORTS}
    for walk in walks.values():
        walk.run(DEGREES, None, forced=False)
    tried = [len(walks[effort].trials) for effort in EFFORTS]
    assert tried[0] < tried[1] <= tried[2]
    assert "effort 'quick' was spent before" in walks["quick"].ended


def test_which_is_chosen_does_not_depend_on_the_last_bits() -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1e-9, 1e-9, (13, 13, 8))
    chosen = set()
    for seed in range(8):
        table = Table(lambda d, r, k=seed: (0.05 if d < 3 else 0.01) * (1 + noise[d, r, k]))
        found = Walk(table).run(DEGREES, None, forced=False)
        assert found is not None
        chosen.add((found.degree, found.rank))
    assert chosen == {(3, 1)}
