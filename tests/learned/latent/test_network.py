from __future__ import annotations

import pytest
import torch

from persim_gym import store
from persim_gym.learned.latent.network import LatentNetwork
from tests.learned.latent_ensembles import random_network


@pytest.mark.parametrize("gates", [0, 2])
def test_the_slope_by_the_latent_is_that_of_automatic_differentiation(gates: int) -> None:
    network = random_network(gates).to("cpu", torch.float64)
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


def test_a_file_from_before_there_were_gates_is_read() -> None:
    network = random_network(gates=0)
    meta = {name: value for name, value in network.meta().items() if name != "gates"}
    assert LatentNetwork.from_parts(network.tensors(), meta).shape == network.shape


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
