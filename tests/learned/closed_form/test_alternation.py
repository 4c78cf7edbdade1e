"""Alternating the two steps: likelihood, gauge, rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persim_gym.learned.closed_form.agent_sums import Rows, gather
from persim_gym.learned.closed_form.alternation import (
    LowRankFit,
    alternate,
    gauge,
    principal,
    widened,
)
from tests.learned.closed_form.rows import BASIS, features, predictions, some_factors, some_rows

# -- the two steps ---------------------------------------------------------------------------------


def evidence_of(fit: LowRankFit, rows: Rows) -> float:
    """The logarithm of the probability of the targets, factors integrated out."""
    phi = features(rows.inputs)
    loading = torch.einsum("pt,trpd->tdr", phi, fit.weights[0][rows.choice])
    total = 0.0
    for agent in range(rows.num_agents):
        own = rows.agent == agent
        design = loading[own].flatten(0, 1)
        left = rows.target[own].flatten() - design[:, 0]
        noise = fit.noise[0].repeat(int(own.sum()))
        covariance = design[:, 1:] @ design[:, 1:].T + torch.diag(noise)
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(left), covariance)
        total += float(normal.log_prob(left))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_every_round_raises_the_likelihood(seed: int) -> None:
    rows = some_rows([12] * 12, seed=seed)
    rows.target.add_(3 * torch.randn(12, 2, dtype=torch.float64)[rows.agent])
    stats = gather(rows, features)
    fit = alternate(stats, some_factors(rows, seed=seed), rounds=1)
    levels = []
    for _ in range(12):
        levels.append(evidence_of(fit, rows))
        fit = alternate(stats, fit.factors, rounds=1)
    steps = np.diff(levels)
    assert (steps > -1e-6 * abs(levels[0])).all(), levels
    assert levels[-1] > levels[0] + 1.0


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(0, 999), st.booleans())
def test_gauge_and_rotation_leave_predictions_as_they_are(
    rank: int, seed: int, weighted: bool
) -> None:
    rows = some_rows([5] * 9, seed=seed)
    stats = gather(rows, features)
    factors = some_factors(rows, rank, seed)
    weights = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 2, rank, BASIS.size, 2)))
    before = LowRankFit(weights, factors, torch.ones(1, 2, dtype=torch.float64), 1)
    importance = torch.rand(1, 9, dtype=torch.float64) + 0.1 if weighted else None
    gauged = gauge(before, importance)
    turned = principal(gauged, stats)
    for after in (gauged, turned):
        torch.testing.assert_close(predictions(after, rows), predictions(before, rows))
    if rank > 1:
        share = torch.ones(9).double() if importance is None else importance[0]
        share = share / share.sum()
        mean, covariance = turned.factors.mean[0, :, 1:], turned.factors.covariance[0]
        torch.testing.assert_close(share @ mean, torch.zeros(rank - 1).double(), atol=1e-6, rtol=0)
        whole = (share[:, None] * mean).T @ mean + (share[:, None, None] * covariance).sum(0)
        torch.testing.assert_close(whole, torch.eye(rank - 1).double(), atol=1e-6, rtol=0)
    if rank > 2:
        size = torch.einsum("pt->p", features(rows.inputs).square()).sqrt()
        # By action, for statistics count each action's own features.
        loads = []
        for r in range(1, rank):
            squares = 0.0
            for action in range(2):
                own = features(rows.inputs)[:, rows.choice == action].square().sum(1)
                squares += float((turned.weights[0, action, r].square() * own[:, None]).sum())
            loads.append(squares)
        assert (np.diff(loads) <= 1e-9 * loads[0]).all()
        assert size.shape == (BASIS.size,)


def test_factors_widen_and_narrow() -> None:
    rows = some_rows([3] * 4)
    factors = some_factors(rows, 3)
    generator = torch.Generator().manual_seed(0)
    wide = widened(factors, 5, generator)
    assert wide.mean.shape == (1, 4, 5)
    assert wide.covariance.shape == (1, 4, 4, 4)
    torch.testing.assert_close(wide.mean[..., :3], factors.mean)
    assert (wide.mean[..., 3:] != 0).all()
    narrow = widened(wide, 2, generator)
    torch.testing.assert_close(narrow.mean, factors.mean[..., :2])
    torch.testing.assert_close(narrow.covariance, factors.covariance[..., :1, :1])


# -- what goes wrong -------------------------------------------------------------------------------
