"""The two exact steps against dense computations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Rows, gather
from persim_gym.learned.closed_form.alternation import (
    NOISE_FLOOR,
    Factors,
    LowRankFit,
    alternate,
    first_factors,
    gauge,
    posterior,
    principal,
    regress,
    solve_factors,
    widened,
)
from tests.learned.closed_form.test_agent_sums import BASIS, features, some_rows


def some_factors(rows: Rows, rank: int = 3, seed: int = 1, members: int = 1) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    found = first_factors(members, rows.num_agents, rank, generator, rows.target)
    root = 0.3 * torch.randn(
        members, rows.num_agents, rank - 1, rank - 1, generator=generator, dtype=torch.float64
    )
    mean = found.mean.clone()
    mean[..., 1:] *= 10
    return Factors(mean, root @ root.mT)


def predictions(fit: LowRankFit, rows: Rows, member: int = 0) -> Tensor:
    phi = features(rows.inputs)
    weights = fit.weights[member][rows.choice]  # [T, r, P, D]
    return torch.einsum("pt,tr,trpd->td", phi, fit.factors.mean[member, rows.agent], weights)


# -- the two steps ---------------------------------------------------------------------------------


def test_weights_are_those_of_dense_least_squares() -> None:
    rows = some_rows([40, 35, 60, 50], seed=3)
    factors = some_factors(rows)
    flat = dataclasses.replace(factors, covariance=torch.zeros_like(factors.covariance))
    weights, noise = regress(gather(rows, features), flat, ridge=0.0)
    left = torch.zeros(2, dtype=torch.float64)
    for action in range(2):
        own = rows.choice == action
        design = torch.einsum("pt,tr->trp", features(rows.inputs), flat.mean[0, rows.agent])
        design = design[own].flatten(1)
        found = torch.linalg.lstsq(design, rows.target[own]).solution
        torch.testing.assert_close(weights[0, action].flatten(0, 1), found, atol=1e-8, rtol=1e-6)
        left += (rows.target[own] - design @ found).square().sum(0)
    torch.testing.assert_close(noise[0], left / len(rows), rtol=1e-8, atol=0)


def test_masked_weights_are_those_of_the_features_left() -> None:
    rows = some_rows([40, 35, 60, 50], seed=3)
    factors = some_factors(rows, rank=1)
    mask = torch.rand(2, BASIS.size, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    weights, _ = regress(gather(rows, features), factors, mask, ridge=0.0)
    assert (weights[0, :, 0][~mask] == 0).all()
    phi = features(rows.inputs).T
    for action in range(2):
        for d in range(2):
            kept = mask[action, :, d]
            own = rows.choice == action
            found = torch.linalg.lstsq(phi[own][:, kept], rows.target[own, d : d + 1]).solution
            torch.testing.assert_close(weights[0, action, 0, kept, d], found[:, 0])


def test_factors_are_the_gaussian_posterior() -> None:
    rows = some_rows([6, 1, 0, 9], seed=4)
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(2, 2, 3, BASIS.size, 2, generator=generator, dtype=torch.float64)
    noise = torch.tensor([[0.3, 2.0], [1.0, 0.1]], dtype=torch.float64)
    found = posterior(gather(rows, features), weights, noise)
    phi = features(rows.inputs)
    for member in range(2):
        loading = torch.einsum("pt,trpd->tdr", phi, weights[member][rows.choice])
        for agent in range(4):
            own = rows.agent == agent
            design = (loading[own] / noise[member, :, None].sqrt()).flatten(0, 1)
            target = (rows.target[own] / noise[member].sqrt()).flatten() - design[:, 0]
            precision = design[:, 1:].T @ design[:, 1:] + torch.eye(2)
            mean = torch.linalg.solve(precision, design[:, 1:].T @ target)
            torch.testing.assert_close(found.mean[member, agent, 1:], mean)
            torch.testing.assert_close(found.covariance[member, agent], torch.linalg.inv(precision))
    # Nothing known is the prior.
    torch.testing.assert_close(found.mean[0, 2], torch.tensor([1.0, 0.0, 0.0]).double())
    torch.testing.assert_close(found.covariance[0, 2], torch.eye(2).double())


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


def test_collinear_features_are_regularised() -> None:
    rows = some_rows([30] * 5)
    rows.inputs[:, 1] = rows.inputs[:, 0]  # many features are the same
    rows.inputs[:, 2] = 0.0  # and some are nothing
    fit = alternate(gather(rows, features), some_factors(rows), rounds=5, ridge=0.0)
    assert torch.isfinite(fit.weights).all()
    left = rows.target - predictions(fit, rows)
    assert (left.square().mean(0) <= rows.target.square().mean(0)).all()


def test_what_is_beyond_double_precision_is_said() -> None:
    rows = some_rows([30] * 5)
    rows.target[0] = float("inf")
    with pytest.raises(FloatingPointError, match="double precision"):
        alternate(gather(rows, features), some_factors(rows), rounds=2)
    bad = torch.full((1, 3, 2, 2), float("nan"), dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="double precision"):
        solve_factors(bad, bad[..., 0])


def test_noise_has_a_floor() -> None:
    rows = some_rows([30] * 5)
    rows.target.zero_()
    _, noise = regress(gather(rows, features), some_factors(rows))
    torch.testing.assert_close(noise, torch.full((1, 2), NOISE_FLOOR**2).double())


def test_an_action_that_was_taken_rarely_leans_on_the_others() -> None:
    rows = some_rows([60] * 4, choices=3)
    rare = torch.cumsum(rows.choice == 2, 0)
    rows.choice[(rows.choice == 2) & (rare > 4)] = 0
    stats = gather(rows, features)
    factors = some_factors(rows, rank=1)
    weights, _ = regress(stats, factors)
    mean = weights[0, :2, 0].mean(0)
    own = (weights[0, 2, 0] - mean).abs().amax(1) > 1e-12
    assert own.tolist() == [True] + [False] * (BASIS.size - 1)  # 4 transitions carry one term
    rows.choice[rows.choice == 2] = 1
    never, _ = regress(gather(rows, features), factors)
    torch.testing.assert_close(never[0, 2, 0], never[0, :2, 0].mean(0))
