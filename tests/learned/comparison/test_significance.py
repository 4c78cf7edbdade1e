"""What is significantly better is so of most agents, and at every time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import Errors, earlier_end
from persim_gym.learned.comparison.significance import (
    errors_of_earlier_end,
    is_behind,
    significantly_less,
)
from tests.learned.comparison.records import Known, record

AGENTS = 20


def of(*sizes: NDArray[np.float64] | float) -> list[Errors]:
    """Errors of each part, of one prediction an agent."""
    valid, agent = np.ones((AGENTS, 1), dtype=np.bool_), np.arange(AGENTS)
    return [Errors(np.full(AGENTS, size).reshape(-1, 1, 1), valid, agent) for size in sizes]


MANY = np.random.default_rng(0).lognormal(-0.1, 0.3, AGENTS)
FEW = np.where(np.arange(AGENTS) == 0, 1e-5, 1.01)


@pytest.mark.parametrize(
    ("errors", "sure"),
    [
        (of(0.9, 0.9), True),
        (of(1.1, 1.1), False),
        (of(0.5, 1.1), False),  # in one part alone
        (of(MANY, MANY), True),
        (of(FEW, FEW), False),  # of one agent alone
        (of(0.9), False),  # it could not be fitted to the other part
        (of(0.9, 0.9, 5.0), True),  # which the other could not be fitted to
    ],
)
def test_surely(errors: list[Errors], sure: bool) -> None:
    assert significantly_less(errors, of(1.0, 1.0)) is sure


def test_agents_without_a_prediction_have_no_say() -> None:
    some = of(0.9, 0.9)
    for part in some:
        part.valid[3:] = False
        part.left[3:] = 100.0
    assert significantly_less(some, [*some]) is False
    assert significantly_less(some, [Errors(e.left / 0.9, e.valid, e.agent) for e in some])


def test_what_cannot_be_fitted_has_no_errors() -> None:
    data = record(12)

    def fail(rows: NDArray[np.int64]) -> Known:
        raise ValueError("too few")

    assert errors_of_earlier_end(fail, None, data, [1]) == []
    part = earlier_end(data, np.random.default_rng(0))
    assert errors_of_earlier_end(fail, part, data, [1]) == []
    (found,) = errors_of_earlier_end(lambda rows: Known(drift=0.1), part, data, [1])
    assert np.allclose(found.of_agents(0), 0.1 / data.unit[0])


def test_what_is_much_better_on_other_parts_is_not_behind() -> None:
    others = of(1.0, 1.0, 1.0)
    assert not is_behind(of(0.9), others, 0.3)
    assert is_behind(of(1.01), others, 0.3)
    assert is_behind(of(0.9, 1.01), others, 0.3)
    assert not is_behind(of(0.1, 1.01), others, 0.3)
