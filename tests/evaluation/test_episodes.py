"""Episodes that are to be predicted."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.evaluation.open_loop import open_loop_error
from tests.evaluation.worlds import (
    Off,
    drift,
)


def test_the_model_is_asked_after_the_real_steps():
    model, seen = Off(np.zeros((1, 1, 2))), drift()
    open_loop_error(model, seen)
    ((agents, obs, actions),) = model.asked  # all episodes in one call
    np.testing.assert_array_equal(agents, [0, 0, 0, 2, 2, 2])
    np.testing.assert_array_equal(obs[:, 0], [10, 10, 10, 30, 30, 30])
    np.testing.assert_array_equal(obs, seen.obs[:, 10])
    np.testing.assert_array_equal(actions, seen.actions[:, 10:])
    np.testing.assert_array_equal(seen.true, seen.obs[:, 11:])
    assert actions.shape == (6, 50)


def test_warmup_and_horizon_are_options():
    model = Off(np.zeros((1, 1, 2)))
    open_loop_error(model, drift(warmup=0, horizon=7))
    _, obs, actions = model.asked[0]
    np.testing.assert_array_equal(obs[:, 0], 0)
    assert actions.shape == (6, 7)


def test_a_lag_is_served_with_real_observations():
    model, seen = Off(np.zeros((1, 1, 2)), lag=3), drift()
    assert open_loop_error(model, seen).rmse.tolist() == [0, 0]
    np.testing.assert_array_equal(model.asked[0][1], seen.obs[:, 8:11])
    np.testing.assert_array_equal(drift(warmup=0).states(2)[:, 0], drift(warmup=0).obs[:, 0])


def test_the_policy_sees_the_truth():
    seen = drift()
    np.testing.assert_array_equal(seen.actions, seen.obs[:, :-1, 1].astype(int) % 3)


def test_episodes_start_alike_for_all_agents_and_differ():
    seen = drift(episodes=6)
    np.testing.assert_array_equal(seen.obs[:6, 0], seen.obs[6:, 0])
    assert len(set(seen.obs[:6, 0, 1])) > 3
    np.testing.assert_array_equal(drift(episodes=6).obs, seen.obs)
    assert (drift(episodes=6, seed=1).obs[:, 0] != seen.obs[:, 0]).any()
    np.testing.assert_array_equal(drift(episodes=4).obs[:4], seen.obs[:4])


def test_a_horizon_must_be_positive():
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        drift(horizon=0)
    with pytest.raises(ValueError, match="warmup must be at least 0"):
        drift(warmup=-1)
