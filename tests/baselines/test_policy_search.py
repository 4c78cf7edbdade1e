"""What a policy is optimised on, and in which blocks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch

from persim_gym.baselines import policy_search
from persim_gym.baselines.model_config import MOReLConfig
from persim_gym.baselines.networks import Units, mlp_of
from persim_gym.baselines.pessimistic import PessimisticDynamics
from persim_gym.policies.randomness import global_randomness_kept
from tests.baselines.context_worlds import TASK, HiddenGain, recorded
from tests.learned.worlds import random_simulator


def test_starts_are_recorded_ones() -> None:
    data = recorded(HiddenGain(np.ones(3)), 10)
    begin = policy_search._Starts(data, 0.0)
    drawn = begin(np.random.default_rng(0), 50)
    starts = {tuple(row) for row in data.obs[data.starts].astype(float).tolist()}
    assert {tuple(row) for row in drawn.tolist()} == starts
    anywhere = policy_search._Starts(data, 1.0)(np.random.default_rng(0), 200)
    assert len(np.unique(anywhere, axis=0)) > 20
    rng = np.random.default_rng(5)
    one_by_one = np.concatenate([begin(rng, 1) for _ in range(6)])
    np.testing.assert_array_equal(one_by_one, begin(np.random.default_rng(5), 6))


def test_blocks_are_one_of_imitation_and_those_of_the_search(monkeypatch: Any) -> None:
    monkeypatch.setattr(policy_search, "ROLLOUT", 64)
    monkeypatch.setattr(policy_search, "ROLLOUTS", 4)
    config = MOReLConfig(lanes=32, policy_steps=65_536)
    assert policy_search.block_steps(config) == 64 * 4 * 32
    assert policy_search.search_blocks(config) == 1 + 8
    assert policy_search.search_blocks(MOReLConfig(lanes=32, policy_steps=1)) == 2
    # A rollout of all lanes is a whole number of batches.
    for lanes in (1, 3, 32, 100, 300):
        size = policy_search._batch_size(lanes)
        assert (64 * lanes) % size == 0
        assert lanes <= size
        assert size <= max(256, lanes)


def search(seed: int = 0) -> policy_search.PolicySearch:
    data = recorded(HiddenGain(np.ones(2)), 40)
    dynamics = PessimisticDynamics(random_simulator(TASK), math.inf, 1.0)
    config = MOReLConfig(lanes=2, policy_hidden=(32,), imitation=200)
    own = dataclasses.replace(data, action=np.tanh(data.obs[:, :1]).astype(np.float32))
    return policy_search.PolicySearch(TASK, own, dynamics, Units.measured(own, TASK), config, seed)


def acts(found: policy_search.PolicySearch, obs: Any) -> Any:
    """What the layers that are kept do in some states."""
    network, data = mlp_of(found.layers(), "policy"), recorded(HiddenGain(np.ones(2)), 40)
    units = Units.measured(data, TASK)
    return network(units.observations(obs, torch.device("cpu"))).detach().numpy()


def test_imitation_does_what_was_recorded_and_a_search_goes_on() -> None:
    obs = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    found, target = search(), np.tanh(obs[:, :1])
    before = np.abs(acts(found, obs) - target).mean()
    with global_randomness_kept():
        found.train(0, 1)
    assert np.abs(acts(found, obs) - target).mean() < 0.7 * before
    other = search(5)
    with global_randomness_kept():
        found.train(1, 2)
        other.restore(found.tensors())
        np.testing.assert_array_equal(acts(other, obs), acts(found, obs))
        for one in (found, other):
            one.train(2, 3)
    np.testing.assert_array_equal(acts(other, obs), acts(found, obs))
