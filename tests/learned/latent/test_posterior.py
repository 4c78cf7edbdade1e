"""Latents of agents that are met after the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from persim_gym.learned.config import Latent
from persim_gym.learned.latent import posterior as latent_posterior
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.fit import fit_latent
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.learned.latent.posterior import STARTS, posterior
from tests.learned.latent_worlds import kink, record


@pytest.fixture(scope="module")
def population() -> LatentNetwork:
    recorded = record(kink, np.linspace(-0.8, 0.8, 24), 80, seed=0, scattered=True)
    config = Latent(
        ensemble_size=2, latent=2, hidden=(16, 16), batch_size=256, first_steps=300, steps=500
    )
    return fit_latent(recorded.data, config)


@pytest.mark.slow
def test_a_new_agent_is_known_from_a_few_transitions(population: LatentNetwork) -> None:
    recorded = record(kink, np.linspace(-0.8, 0.8, 24), 80, seed=0, scattered=True)
    rng = np.random.default_rng(5)
    where = np.array([-0.45, 0.5])
    agents = np.repeat([0, 1], 12)
    states, actions = rng.uniform(-1, 1, 24), rng.uniform(-1, 1, 24)
    changes = kink(states, actions, where[agents]) / recorded.change_scale
    data = LatentData(recorded.features(states, actions), changes[:, None], agents, agents, 3)
    mean, deviation = posterior(population, data)
    adapted = population.with_factors(mean, deviation)
    fresh, own = rng.uniform(-1, 1, 400), rng.integers(0, 2, 400)
    still = np.zeros(400)
    truth = kink(fresh, still, where[own]) / recorded.change_scale
    features = torch.tensor(recorded.features(fresh, still), dtype=torch.float32)

    def error(agents: torch.Tensor) -> float:
        found = adapted.change(agents, features).mean(0)[:, 0].numpy()
        return float(np.sqrt(((found - truth) ** 2).mean()))

    known, average = error(torch.as_tensor(own)), error(torch.full((400,), 2))
    assert known < 0.15
    assert known < 0.4 * average
    assert torch.allclose(mean[:, 2], population.prior[0], atol=1e-4)  # without transitions
    unsure = deviation.square().sum(2)
    assert (unsure[:, 2] > 9 * unsure[:, :2].amax(1)).all()


@pytest.mark.slow
def test_noise_draws_an_agent_to_the_population(population: LatentNetwork) -> None:
    recorded = record(kink, np.array([-0.8, 0.8]), 10, seed=4)
    sure, _ = posterior(population, recorded.data)
    unsure, _ = posterior(population, recorded.data, noise=torch.full((2, 1), 1e6))
    centre = population.prior[0][:, None]
    assert torch.allclose(unsure, centre.expand_as(unsure), atol=0.01)
    assert (sure - centre).norm() > 10 * (unsure - centre).norm()


@pytest.mark.slow
def test_many_agents_are_worked_on_in_parts(
    population: LatentNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record(kink, np.linspace(-0.7, 0.7, 9), 20, seed=6, scattered=True)
    data = replace(recorded.data, num_agents=11)  # the last two without transitions
    features = torch.tensor(data.features, dtype=torch.float32)

    def changes() -> torch.Tensor:
        mean, deviation = posterior(population, data)
        assert mean.shape == deviation.shape == (2, 11, 2)
        return population.with_factors(mean).change(torch.as_tensor(data.agents), features)

    whole = changes()
    monkeypatch.setattr(latent_posterior, "MOST_ROWS", 10)
    assert torch.allclose(whole, changes(), atol=0.02)


@pytest.mark.slow
def test_what_a_bound_cut_off_draws_no_agent(population: LatentNetwork) -> None:
    recorded = record(kink, np.array([-0.6, 0.6]), 40, seed=8, scattered=True)
    data = recorded.data
    out = np.arange(len(data)) % 2 == 0
    cut = np.where(out, 1, 0).astype(np.int8)[:, None]
    short = replace(data, changes=np.where(out[:, None], data.changes - 2.0, data.changes))
    kept = [getattr(data, n)[~out] for n in ("features", "changes", "agents", "episodes")]
    wanted, _ = posterior(population, LatentData(*kept, data.num_agents))
    found, _ = posterior(population, replace(short, cut=cut))
    misled, _ = posterior(population, short)
    assert (found - wanted).norm() < 0.2 * (misled - wanted).norm()


def test_more_places_to_begin_find_what_the_nearest_one_does_not() -> None:
    """Agents unlike all others, in a network that is far from linear in their latents."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(2, 12, 2, generator=generator)
    shape = LatentShape(2, 12, 3, 1, 2, (16, 16))
    network = LatentNetwork.initial(shape, 16 * drawn, generator)
    network = network.with_tensors(
        noise=torch.full((2, 1), 1e-4), prior_covariance=256 * torch.eye(2).repeat(2, 1, 1)
    )
    features = 3 * torch.randn(240, 3, generator=generator)
    agents = torch.arange(12).repeat_interleave(20)
    strange = network.with_factors(16 * torch.randn(2, 12, 2, generator=generator))
    changes = strange.change(agents, features)[0]
    numbers = agents.numpy()
    data = LatentData(features.double().numpy(), changes.double().numpy(), numbers, numbers, 12)

    def left(starts: int) -> torch.Tensor:
        known = network.with_factors(posterior(network, data, starts=starts)[0])
        errors = (known.change(agents, features) - changes)[..., 0]
        return errors.square().unflatten(1, (12, 20)).mean(2)[0]

    one, several = left(1), left(STARTS)
    assert 2 <= (one > 1e-3).sum() < 6
    assert (several < 1e-3).all()
