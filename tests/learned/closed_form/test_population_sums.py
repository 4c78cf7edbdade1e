"""Sums over agents, part by part."""

from __future__ import annotations

import torch
from numpy.testing import assert_allclose

from persim_gym.learned.closed_form.agent_sums import gather
from persim_gym.learned.closed_form.alternation import first_factors
from persim_gym.learned.closed_form.factors import posterior
from persim_gym.learned.closed_form.population_sums import Sums
from persim_gym.learned.closed_form.weights import regress, weights_from
from tests.learned.closed_form.polynomial_worlds import LowRankWorld, posed


def test_sums_over_parts_give_the_weights_of_the_whole() -> None:
    world = LowRankWorld(agents=23)
    problem = posed(world, world.record(30, noise=0.01))
    features = problem.features(problem.basis(2))
    stats = gather(problem.rows, features)
    generator = torch.Generator().manual_seed(0)
    factors = first_factors(2, 23, 3, generator, stats.square)
    weights, noise = regress(stats, factors)
    factors = posterior(stats, weights, noise)
    importance = torch.rand(2, 23, generator=generator, dtype=torch.float64)
    whole = regress(stats, factors, importance=importance)
    sums = None
    for agents, rows in problem.rows.by_agents(7):
        own = gather(rows, features)
        part = Sums.of(own, posterior(own, weights, noise), importance[:, agents])
        sums = part if sums is None else sums + part
    assert sums is not None
    for found, expected in zip(weights_from(sums), whole, strict=True):
        assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    centre, spread = sums.population()
    share = (importance / importance.sum(1, keepdim=True))[..., None]
    mean = factors.mean[..., 1:]
    assert_allclose(centre, (share * mean).sum(1), atol=1e-12)
    centred = mean - centre[:, None]
    expected = (share * centred).mT @ centred + (share[..., None] * factors.covariance).sum(1)
    assert_allclose(spread, expected, rtol=1e-6, atol=1e-12)
