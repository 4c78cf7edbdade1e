"""Networks and units of the model-free baselines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from persim_gym.baselines.networks import Mlp, Rows, Units, mlp_of
from persim_gym.baselines.resumable import module_tensors
from persim_gym.policies.randomness import global_seed
from tests.baselines.small import Entry, data_of


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_networks_see_the_same_in_whatever_unit_data_are(unit: float) -> None:
    data, task = data_of("discrete"), Entry("Cloning", "discrete").shared().task
    other = dataclasses.replace(
        data, obs=data.obs * np.float32(unit), next_obs=data.next_obs * np.float32(unit)
    )
    seen = [
        Units.measured(own, task).observations(own.obs, torch.device("cpu"))
        for own in (data, other)
    ]
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-3, atol=1e-3)


def test_a_network_is_made_again_from_what_was_kept() -> None:
    network = Mlp(3, 5, 2)
    kept = module_tensors(network, "value")
    state = torch.get_rng_state()
    again = mlp_of(kept, "value")
    assert torch.equal(torch.get_rng_state(), state), "no weights are drawn"
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(rows), network(rows))
    assert not any(weight.requires_grad for weight in again.parameters())
    with pytest.raises(KeyError, match="policy"):
        mlp_of(kept, "policy")
    with pytest.raises(RuntimeError, match="size mismatch"):
        mlp_of(kept | {"value.0.bias": torch.zeros(4)}, "value")


def test_actions_are_seen_from_minus_one_to_one_and_come_back() -> None:
    low, high = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([2.0, 1.0, 3.0])
    units = Units(torch.zeros(1), torch.ones(1), low, high, torch.ones(1))
    actions = torch.tensor([[-2.0, 1.0, 3.0], [0.0, 0.25, 3.0]])
    seen = units.actions(actions)
    assert seen[:, :2].tolist() == [[-1.0, 1.0], [0.0, -0.5]]
    torch.testing.assert_close(units.back(seen), actions)
    assert units.actions(torch.tensor([[9.0, 9.0, 3.0]]))[0, :2].tolist() == [1.0, 1.0]
    again = Units.of(units.tensors())
    torch.testing.assert_close(again.actions(actions), seen)


def test_a_time_limit_is_no_end() -> None:
    data, task = data_of("discrete"), Entry("Cloning", "discrete").shared().task
    data = dataclasses.replace(data, truncated=~data.terminated)
    units = Units.measured(data, task)
    rows = Rows.of(data, task, units, torch.device("cpu"))
    assert rows.done.tolist() == data.terminated.astype(float).tolist()
    assert 0 < rows.done.sum() < len(data)
    assert rows.reward.square().mean() == pytest.approx(1)
    assert rows.obs.mean(0) == pytest.approx(0, abs=1e-4)
    with global_seed(0):
        obs, action, after, reward, done = rows.drawn(6)
    with global_seed(0):
        index = torch.randint(len(data), (6,))
    assert torch.equal(obs, rows.obs[index])
    assert torch.equal(after, rows.next_obs[index])
    assert action.tolist() == data.action[index.numpy()].tolist()
    assert reward.tolist() == rows.reward[index].tolist()
    assert done.tolist() == rows.done[index].tolist()
