from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from persim_gym import store
from persim_gym.learned import latent_posterior
from persim_gym.learned.config import Latent
from persim_gym.learned.latent_fit import fit_latent
from persim_gym.learned.latent_frame import Circle, FeatureMap
from persim_gym.learned.latent_loss import LatentData
from persim_gym.learned.latent_network import LatentNetwork, LatentShape
from persim_gym.learned.latent_posterior import posterior
from tests.learned.latent_worlds import kink, record


def random_network() -> LatentNetwork:
    shape = LatentShape(members=3, num_agents=5, features=4, outputs=2, latent=3, hidden=(8, 6))
    draw = torch.Generator().manual_seed(0)
    return LatentNetwork.initial(shape, torch.randn(3, 5, 3, generator=draw), draw)


def test_the_slope_by_the_latent_is_that_of_automatic_differentiation() -> None:
    network = random_network().to("cpu", torch.float64)
    latents = torch.randn(3, 7, 3, dtype=torch.float64, requires_grad=True)
    features = torch.randn(3, 7, 4, dtype=torch.float64)
    change, slope = network.jacobian(latents.detach(), features)
    expected = network.response(latents, features)
    assert torch.allclose(change, expected)
    for coordinate in range(2):
        (own,) = torch.autograd.grad(expected[..., coordinate].sum(), latents, retain_graph=True)
        assert torch.allclose(slope[:, :, coordinate], own)


def test_features_are_alike_for_all_members_or_each_members_own() -> None:
    network = random_network()
    agents, features = torch.tensor([0, 4]), torch.randn(2, 4)
    shared = network.change(agents, features)
    assert shared.shape == (3, 2, 2)
    assert torch.allclose(shared, network.change(agents, features.expand(3, -1, -1)))


def test_outside_the_data_features_are_held() -> None:
    network = random_network().with_tensors(low=torch.full((4,), -1.0), high=torch.ones(4))
    agent = torch.tensor([0])
    far, edge = torch.full((1, 4), 50.0), torch.ones(1, 4)
    assert torch.equal(network.change(agent, far), network.change(agent, edge))


def test_a_network_comes_back_from_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = random_network()
    store.write(tmp_path / "net", "latent", network.tensors(), {"network": network.meta()})
    tensors, card = store.read(tmp_path / "net", "latent")
    back = LatentNetwork.from_parts(tensors, card["network"])
    agents, features = torch.arange(5), torch.randn(5, 4)
    assert torch.equal(back.change(agents, features), network.change(agents, features))
    with pytest.raises(ValueError, match=r"layer '0.weight'"):
        LatentNetwork.from_parts(tensors, {**network.meta(), "features": 9})


def test_precision_and_other_agents() -> None:
    network = random_network()
    double = network.to("cpu", torch.float64)
    assert double.change(torch.tensor([1]), torch.zeros(1, 4).double()).dtype == torch.float64
    swapped = network.with_factors(network.factors[:, [2, 0]])
    features = torch.randn(1, 4)
    assert swapped.num_agents == 2
    assert torch.equal(
        swapped.change(torch.tensor([0]), features), network.change(torch.tensor([2]), features)
    )


def test_features_move_with_the_state() -> None:
    angle, speed, action, older = 0.3, 2.0, 0.7, 1.5
    means, scales = (0.1, -0.2), (0.5, 2.0)
    frame = FeatureMap(
        features=5,
        columns=[2],
        outputs=[1],
        gains=[4.0],
        circles=[Circle(0, 1, output=0, gain=0.5, mean=means, scale=scales)],
        older=[4],
        newer=[2],
    )

    def features(angle: float, speed: float, action: float, older: float) -> torch.Tensor:
        cosine = (np.cos(angle) - means[0]) / scales[0]
        sine = (np.sin(angle) - means[1]) / scales[1]
        return torch.tensor([cosine, sine, speed, action, older], dtype=torch.float64)

    now = features(angle, speed, action, older)
    change = torch.tensor([0.2, -0.25], dtype=torch.float64)
    then = features(-9.0, -9.0, 0.1, -9.0)
    moved = frame.moved(now, change)
    given = frame.given(then)
    assert torch.allclose(moved, features(angle + 0.1, speed - 1.0, action, older))
    after = frame.advanced(now, change, given)
    assert torch.allclose(after, features(angle + 0.1, speed - 1.0, 0.1, speed))
    with pytest.raises(ValueError, match="one length"):
        FeatureMap(1, [0], [0, 1], [1.0])


@pytest.fixture(scope="module")
def population() -> LatentNetwork:
    recorded = record(kink, np.linspace(-0.8, 0.8, 24), 80, seed=0, scattered=True)
    config = Latent(
        ensemble_size=2, latent=2, hidden=(16, 16), batch_size=256, first_steps=300, steps=500
    )
    return fit_latent(recorded.data, config)


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


def test_noise_draws_an_agent_to_the_population(population: LatentNetwork) -> None:
    recorded = record(kink, np.array([-0.8, 0.8]), 10, seed=4)
    sure, _ = posterior(population, recorded.data)
    unsure, _ = posterior(population, recorded.data, noise=torch.full((2, 1), 1e6))
    centre = population.prior[0][:, None]
    assert torch.allclose(unsure, centre.expand_as(unsure), atol=0.01)
    assert (sure - centre).norm() > 10 * (unsure - centre).norm()


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
