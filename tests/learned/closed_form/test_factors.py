"""Factors against dense computations."""

from __future__ import annotations

import pytest
import torch

from persim_gym.learned.closed_form.agent_sums import gather
from persim_gym.learned.closed_form.factors import posterior, solve_factors
from tests.learned.closed_form.rows import BASIS, features, some_rows


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


def test_what_is_beyond_double_precision_is_said() -> None:
    bad = torch.full((1, 3, 2, 2), float("nan"), dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="double precision"):
        solve_factors(bad, bad[..., 0])
