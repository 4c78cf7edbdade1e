"""Weights against dense computations."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from persim_gym.learned.closed_form.agent_sums import gather
from persim_gym.learned.closed_form.alternation import (
    alternate,
)
from persim_gym.learned.closed_form.weights import NOISE_FLOOR, regress
from tests.learned.closed_form.rows import BASIS, features, predictions, some_factors, some_rows


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
