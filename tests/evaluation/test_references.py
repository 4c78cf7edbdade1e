"""What predicts beside a simulator."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import Persistence, PooledModel, pooled
from persim_gym.learned.simulator import PerSim
from tests.evaluation.worlds import (
    Off,
    drift,
    random_transitions,
)


def test_persistence_repeats_the_last_real_state():
    seen = drift()
    error = open_loop_error(Persistence(), seen)
    away = seen.true - seen.obs[:, 10:11]
    np.testing.assert_allclose(
        error.rmse, np.sqrt((away**2).mean(axis=(1, 2))).reshape(2, 3).mean(axis=1)
    )
    np.testing.assert_array_equal(error.step_rmse[:, 0] > 0, [True, True])


def test_the_pooled_model_asks_for_agent_0():
    model = Off(np.zeros((1, 1, 2)))
    error = open_loop_error(PooledModel(model), drift())
    assert error.rmse[0] == 0
    np.testing.assert_array_equal(model.asked[0][0], 0)
    # Agent 2 is 2 further after each step, in one of two coordinates.
    assert error.horizon_rmse(10)[1] == pytest.approx(20 / math.sqrt(2))


def test_pooled_transitions_are_of_one_agent():
    data = random_transitions("cartpole", 3, 10)
    data = dataclasses.replace(data, agent_names=("Ann", "Bob", "Cleo"))
    one = pooled(data)
    assert one.num_agents == 1
    assert one.agent_names is None
    assert not one.agent.any()
    np.testing.assert_array_equal(one.obs, data.obs)
    np.testing.assert_array_equal(one.episode, data.episode)
    np.testing.assert_array_equal(data.agent, data.episode)  # untouched
    assert PerSim.fit(one, epochs=1, progress=False).num_agents == 1
