"""The noise network: what it sees, and the actions that it leaves."""

from __future__ import annotations

import pytest
import torch

from persim_gym.baselines.sfbc.diffusion import Schedule
from persim_gym.baselines.sfbc.network import NoiseNetwork

D, A = 3, 2


def network() -> NoiseNetwork:
    return NoiseNetwork(D, A, (8, 6, 4), 1.0, torch.Generator().manual_seed(0)).requires_grad_(
        False
    )


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_many_actions_share_a_state_and_a_time() -> None:
    own, states, actions, time = network(), normal(5, D), normal(5, 4, A), torch.tensor([0.3])
    together = own(actions, time, own.see(states)[:, None])
    assert together.shape == (5, 4, A)
    alone = torch.stack(
        [own(actions[i, j], time, own.see(states[i])) for i in range(5) for j in range(4)]
    )
    torch.testing.assert_close(together.reshape(20, A), alone)


@pytest.mark.parametrize("changed", ["actions", "time", "states"])
def test_noise_depends_on_actions_time_and_state(changed: str) -> None:
    own = network()
    given = {"actions": normal(5, A), "time": torch.tensor([0.3]), "states": normal(5, D)}
    other = given | {changed: given[changed] + 0.5}
    found = [own(x["actions"], x["time"], own.see(x["states"])) for x in (given, other)]
    assert float((found[0] - found[1]).abs().min()) > 1e-5


def test_weights_are_the_generators_and_nearly_no_noise_is_found_at_first() -> None:
    found = network()(normal(500, A), torch.tensor([0.5]), network().see(normal(500, D)))
    assert torch.equal(network().frequencies, network().frequencies)
    assert float(found.std()) < 0.2
    assert float(found.std()) > 0.001


def test_noise_is_taken_out_and_the_rest_is_inside() -> None:
    own, schedule = network(), Schedule()
    own.last.weight.zero_()
    own.last.bias.copy_(torch.tensor([0.5, -0.5]))
    alpha, sigma = schedule.scales(torch.tensor([0.4]))
    actions = torch.tensor([[0.1, -0.2], [50.0, -50.0]])
    found = own.denoise(schedule, own.see(normal(2, D)), actions, 0.4)
    expected = (actions[0] - sigma * torch.tensor([0.5, -0.5])) / alpha
    torch.testing.assert_close(found[0], expected)
    assert found[1].tolist() == [1.0, -1.0]
