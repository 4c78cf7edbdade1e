"""The population as a prior: known regressions, and how much is computed at once."""

from __future__ import annotations

import pytest
import torch

from persim_gym.learned.posterior.prior import (
    NUMBERS_AT_ONCE,
    ROWS_AT_ONCE,
    Evidence,
    FactorPrior,
    rows_at_once,
    solve,
)


def prior(members: int, size: int) -> FactorPrior:
    eye = torch.eye(size, dtype=torch.float64)
    return FactorPrior(
        torch.zeros(members, size).double(), eye.expand(members, size, size),
        torch.ones(members, 2).double(),
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 4, 100])
def test_a_mean_of_measurements_is_drawn_to_the_population(count: int) -> None:
    """``count`` measurements of 3 with variance 1 under a standard normal prior."""
    evidence = Evidence(
        torch.full((1, 1, 1, 1), float(count)).double(),
        torch.full((1, 1, 1), 3.0 * count).double(),
        torch.tensor([count]),
    )
    mean, covariance = solve(prior(1, 1), evidence)
    assert float(mean) == pytest.approx(3.0 * count / (count + 1))
    assert float(covariance) == pytest.approx(1.0 / (count + 1))


def test_what_one_prior_says_holds_for_all_members() -> None:
    shared = prior(1, 3)
    w = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shared.factors(w), w)


@pytest.mark.parametrize("size", [0, 1, 10, 300, 10_000])
def test_what_is_computed_at_once_stays_in_memory(size: int) -> None:
    wide = FactorPrior(torch.zeros(2, 1), torch.zeros(2, 1, size), torch.zeros(2, 4))
    rows = rows_at_once(wide)
    assert 1 <= rows <= ROWS_AT_ONCE
    assert rows == 1 or rows * 2 * size * max(size, 4) <= NUMBERS_AT_ONCE
