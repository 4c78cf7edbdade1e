"""What is learned of a population, as a prior of its agents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.hierarchical.fit import fit_hierarchical
from persim_gym.learned.regression.population import estimate, means, moments, pooled
from tests.learned.hierarchical.quadratics import World


def test_the_noise_is_estimated() -> None:
    world = World(40)
    fit = fit_hierarchical(*world.record(60, noise=0.1), 40)
    np.testing.assert_allclose(fit.model.noise.sqrt(), 0.1, rtol=0.1)


def test_the_population_is_a_prior_for_new_agents() -> None:
    world = World(80)
    model = fit_hierarchical(*world.record(30), 80, degree=2, members=1).model
    coefficients = model.factors[0]
    centred = coefficients - coefficients.mean(0)
    torch.testing.assert_close(model.prior_mean, coefficients.mean(0), atol=1e-4, rtol=1e-3)
    covariance = model.prior_root @ model.prior_root.T
    own = centred.T @ centred / 80
    p = model.rank // 2
    torch.testing.assert_close(covariance[:p, :p], own[:p, :p], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("steps", [9, 3])  # more transitions than terms, and fewer
def test_a_round_is_that_of_each_agent_by_itself(steps: int) -> None:
    rng = np.random.default_rng(0)
    agents, terms = 7, 5
    agent = torch.arange(agents).repeat_interleave(steps)
    phi = torch.as_tensor(rng.normal(size=(7 * steps, terms)))
    target = torch.as_tensor(rng.normal(size=(7 * steps, 2)))
    stats = moments(phi, target, agent, agents)
    start = pooled(stats)
    found = estimate(stats, start, rounds=1)

    for c in range(2):
        prior = start.covariance[c].inverse()
        means, covariances, left = [], [], 0.0
        for own in range(agents):
            x, y = phi[agent == own], target[agent == own, c]
            covariance = (prior + x.T @ x / start.noise[c]).inverse()
            mean = covariance @ (prior @ start.mean[c] + x.T @ y / start.noise[c])
            means.append(mean)
            covariances.append(covariance)
            left += float((y - x @ mean).square().sum() + (x @ covariance @ x.T).trace())
        away = torch.stack(means) - torch.stack(means).mean(0)
        second = away.T @ away / agents + torch.stack(covariances).mean(0)
        torch.testing.assert_close(found.mean[c], torch.stack(means).mean(0))
        torch.testing.assert_close(found.covariance[c], second)
        torch.testing.assert_close(
            found.noise[c], torch.tensor(left / (7 * steps), dtype=torch.float64)
        )


@pytest.mark.parametrize("steps", [9, 3])  # more transitions than terms, and fewer
@pytest.mark.parametrize("part", ["gram", "cross", "square"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_sums_that_are_not_finite_are_refused(steps: int, part: str, value: float) -> None:
    rng = np.random.default_rng(0)
    agent = torch.arange(4).repeat_interleave(steps)
    phi = torch.as_tensor(rng.normal(size=(4 * steps, 5)))
    stats = moments(phi, phi[:, :2], agent, 4)
    start = pooled(stats)
    getattr(stats, part)[0] = value
    for call in (means, estimate):
        with pytest.raises(FloatingPointError, match="beyond double precision"):
            call(stats, start)
