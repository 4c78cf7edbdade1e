"""Whether what a posterior says of itself is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.posterior import calibration
from persim_gym.learned.posterior.agent import AgentPosterior
from persim_gym.learned.posterior.prior import COUNTS, FactorModel
from tests.learned.posterior.worlds import GaussianWorld, part
from tests.learned.worlds import RankTwoWorld


def coverage(world: GaussianWorld, sim: PerSim, count: int, level: float) -> float:
    """Share of next observations of 150 new agents inside their intervals."""
    inside = []
    for seed in range(150):
        rows = world.new_agent(count + 10, 100 + seed)
        known = sim.new_posterior().update(*part(rows, 0, count))
        obs, actions, following = part(rows, count, count + 10)
        low, high = known.interval(obs, actions, level)
        inside.append((low <= following) & (following <= high))
    return float(np.mean(inside))


@pytest.fixture(scope="module")
def noisy() -> tuple[GaussianWorld, PerSim]:
    world = GaussianWorld(noise=0.1)
    return world, world.fit(world.record(150), ensemble_size=2)


@pytest.mark.parametrize(
    ("count", "level"),
    [
        pytest.param(n, p, marks=() if (n, p) == (10, 0.8) else pytest.mark.slow)
        for n in (0, 1, 3, 10, 30)
        for p in (0.5, 0.8, 0.95)
    ],
)
def test_intervals_hold_what_they_say(
    noisy: tuple[GaussianWorld, PerSim], count: int, level: float
) -> None:
    assert coverage(*noisy, count, level) == pytest.approx(level, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 10, 30])
def test_factors_lie_in_their_posteriors(noisy: tuple[GaussianWorld, PerSim], count: int) -> None:
    """Noise is known to be white: neither temperature nor correlation are made up."""
    world, sim = noisy
    assert (sim.prior.temperature, sim.prior.correlation) in [(1.0, 0.0), (1.0, 0.01)]
    z = []
    for seed in range(150):
        rows = world.new_agent(count, 300 + seed)
        long = world.rows(np.repeat(world.shares(1, 300 + seed), 3000, axis=0), 9)
        truth = sim.new_posterior().update(*long).personal[0]
        mean, deviation = sim.new_posterior().update(*rows).personal
        z.append((mean - truth) / deviation)
    shares = [(np.abs(z) < bound).mean() for bound in (0.6745, 1.2816, 1.96)]
    np.testing.assert_allclose(shares, [0.5, 0.8, 0.95], atol=0.07)


def test_noise_has_the_size_that_it_has(noisy: tuple[GaussianWorld, PerSim]) -> None:
    np.testing.assert_allclose(noisy[1].prior.noise, 0.01, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("slow", [False, True])
def test_errors_that_are_alike_count_for_less(slow: bool) -> None:
    """What a model lacks is like white noise in states all over, and unlike it in a stretch."""
    world = GaussianWorld(noise=0.02, hidden=0.1)
    sim = world.fit(world.record(200, 100, slow=slow))
    if not slow:
        assert (sim.prior.temperature, sim.prior.correlation) == (1.0, 0.0)
        return
    plain = replace(sim.prior, temperature=1.0, correlation=0.0)
    misses = []
    for prior in (sim.prior, plain):
        model = FactorModel(sim.ensemble, prior)
        z = []
        for seed in range(80):
            rows = world.rows(np.repeat(world.shares(1, 300 + seed), 400, axis=0), seed, slow=True)
            truth = AgentPosterior(model, sim.task).update(*rows).personal[0]
            mean, deviation = AgentPosterior(model, sim.task).update(*part(rows, 0, 50)).personal
            z.append((mean - truth) / deviation)
        shares = [(np.abs(z) < bound).mean() for bound in (0.6745, 1.2816, 1.96)]
        misses.append(np.abs(np.array(shares) - [0.5, 0.8, 0.95]).mean())
    assert misses[0] < 0.12
    assert misses[0] < misses[1] - 0.1


@pytest.mark.slow
def test_rare_large_errors_do_not_widen_the_middle() -> None:
    world = GaussianWorld(noise=0.1, rare=True)
    sim = world.fit(world.record(200))
    knowledge = replace(sim.knowledge, prior=replace(sim.prior, quantiles=None))
    gaussian = PerSim(sim.ensemble, sim.task, sim.experience, sim.card, knowledge)
    assert coverage(world, sim, 10, 0.5) == pytest.approx(0.5, abs=0.06)
    assert coverage(world, gaussian, 10, 0.5) > 0.7


def test_intervals_grow_with_the_level_and_shrink_with_data(
    noisy: tuple[GaussianWorld, PerSim],
) -> None:
    world, sim = noisy
    rows = world.new_agent(60)
    widths = [
        [
            float(np.subtract(*known.interval(*part(rows, 50, 60)[:2], level)[::-1]).mean())
            for level in (0.05, 0.3, 0.6, 0.9, 0.97, 0.995)
        ]
        for known in (sim.new_posterior().update(*part(rows, 0, count)) for count in (0, 1, 7, 50))
    ]
    table = np.array(widths)
    assert (np.diff(table, axis=1) > 0).all()
    assert (np.diff(table[:, 3]) < 0).all()
    assert sim.prior.quantiles is not None
    assert sim.prior.quantiles.shape == (len(COUNTS), 2, 13)


@pytest.mark.slow
def test_few_agents_are_not_calibrated() -> None:
    world = GaussianWorld(noise=0.1)
    sim = world.fit(world.record(calibration.LEAST - 1))
    assert sim.prior.quantiles is None
    assert (sim.prior.temperature, sim.prior.correlation) == (1.0, 0.0)


def test_the_prior_is_the_populations(exact: GaussianWorld, fitted: PerSim) -> None:
    """The world's agents have standard normal shares; so have the fitted ones, on average."""
    personal = np.stack([fitted.posterior(k).personal[0] for k in range(80)], axis=1)
    # Members see agents with importance of their own.
    np.testing.assert_allclose(personal.mean(axis=(0, 1)), 0.0, atol=0.2)
    np.testing.assert_allclose(personal.var(axis=(0, 1)), 1.0, atol=0.2)


@pytest.mark.slow
def test_networks_have_the_factors_as_prior(networks: tuple[RankTwoWorld, PerSim]) -> None:
    _, sim = networks
    factors = sim.latent_factors.astype(np.float64)
    np.testing.assert_allclose(sim.prior.mean, factors.mean(axis=1), atol=1e-6)
    root = sim.prior.root.numpy()
    for member in range(3):
        covariance = np.cov(factors[member].T, bias=True)
        np.testing.assert_allclose(root[member] @ root[member].T, covariance, atol=1e-6)


@pytest.mark.slow
def test_members_mean_the_same_agent_by_the_same_numbers(
    networks: tuple[RankTwoWorld, PerSim],
) -> None:
    """Each knows factors up to a map of its own; the prior's roots undo that."""
    _, sim = networks
    factors = torch.as_tensor(sim.latent_factors).double() - sim.prior.mean[:, None]
    numbers = torch.linalg.solve(sim.prior.root, factors.mT).mT.numpy()
    for member in (1, 2):
        agreed = np.corrcoef(numbers[0].ravel(), numbers[member].ravel())[0, 1]
        assert agreed > 0.95
