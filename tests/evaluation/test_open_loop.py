from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import evaluate, explained_variance, open_loop_error
from persim_gym.policies.scripted import scripted_policy
from tests.evaluation.worlds import (
    Off,
    drift,
)

# -- error -----------------------------------------------------------------------------------------


def test_a_perfect_model_has_no_error():
    error = open_loop_error(Off(np.zeros((1, 1, 2))), drift())
    np.testing.assert_array_equal(error.rmse, [0, 0])
    np.testing.assert_array_equal(error.r2, [1, 1])
    np.testing.assert_array_equal(error.agents, [0, 2])
    np.testing.assert_array_equal(error.episodes, [3, 3])


def test_rmse_is_over_steps_and_coordinates_unscaled():
    error = open_loop_error(Off(np.full((1, 1, 2), [3.0, 4.0])), drift())
    np.testing.assert_allclose(error.rmse, math.sqrt((9 + 16) / 2))
    np.testing.assert_allclose(error.coordinate_rmse, [[3, 4], [3, 4]])
    np.testing.assert_allclose(error.rmse_sd, 0, atol=1e-12)
    np.testing.assert_allclose(error.step_rmse, math.sqrt(12.5))


def test_what_counts_is_the_members_mean():
    members = np.array([[[5.0, 5.0]], [[-3.0, -3.0]], [[1.0, 1.0]]])
    error = open_loop_error(Off(members), drift())
    np.testing.assert_allclose(error.rmse, 1.0)


def test_error_by_step():
    growing = np.arange(1.0, 51.0)[None, :, None] * np.ones(2)
    error = open_loop_error(Off(growing), drift())
    np.testing.assert_allclose(error.step_rmse, np.tile(np.arange(1.0, 51.0), (2, 1)))
    np.testing.assert_allclose(error.horizon_rmse(25), [25, 25])
    np.testing.assert_allclose(error.rmse, math.sqrt(np.mean(np.arange(1.0, 51.0) ** 2)))
    plain = error.to_json()["agents"][0]
    assert plain["rmse_after_steps"] == pytest.approx(
        {"1": 1, "5": 5, "10": 10, "25": 25, "50": 50}
    )
    with pytest.raises(ValueError, match="1 to 50"):
        error.horizon_rmse(51)


def test_mean_and_deviation_over_episodes():
    class Worse(Off):
        def rollout(self, agents, obs, actions):
            # Episode e of each agent is off by e.
            truth = super().rollout(agents, obs, actions)
            return truth + (np.arange(len(agents)) % 3)[None, :, None, None]

    error = open_loop_error(Worse(np.zeros((1, 1, 2))), drift())
    np.testing.assert_allclose(error.rmse, [1, 1])
    np.testing.assert_allclose(error.rmse_sd, [1, 1])  # of 0, 1, 2
    alone = open_loop_error(Worse(np.zeros((1, 1, 2))), drift(episodes=1))
    assert np.isnan(alone.rmse_sd).all()


def test_r2_weighs_coordinates_by_their_variance():
    true = np.array([[[0.0, 0.0], [2.0, 20.0]]])  # deviations from the mean: 1 and 10
    squared = np.array([[[0.5, 0.0], [0.5, 40.0]]])
    valid = np.ones((1, 2), dtype=bool)
    expected = 1 - 41 / (2 * 1 + 2 * 100)
    np.testing.assert_allclose(explained_variance(true, squared, valid), [expected])
    # As the average of each coordinate's own R2, weighted by variance.
    each = np.array([1 - 1 / 2, 1 - 40 / 200])
    assert expected == pytest.approx(np.average(each, weights=[1, 100]))


def test_r2_is_about_valid_steps_only():
    true = np.array([[[0.0], [2.0], [1e9]], [[1.0], [5.0], [5.0]]])
    squared = np.array([[[1.0], [0.0], [0.0]], [[0.0], [0.0], [0.0]]])
    valid = np.array([[True, True, False], [True, False, False]])
    found = explained_variance(true, squared, valid)
    assert found[0] == pytest.approx(0.5)
    assert np.isnan(found[1])  # one step does not vary


def test_the_median_of_r2_counts():
    class Spoiled(Off):
        def rollout(self, agents, obs, actions):
            truth = super().rollout(agents, obs, actions)
            truth[:, 0] += 1e6  # one episode of agent 0
            return truth

    error = open_loop_error(Spoiled(np.zeros((1, 1, 2))), drift())
    np.testing.assert_array_equal(error.r2, [1, 1])
    assert error.rmse[0] == pytest.approx(1e6 / 3)


def test_a_prediction_that_is_not_finite_is_infinitely_wrong():
    errors = np.zeros((1, 50, 2))
    errors[0, 30, 1] = np.nan
    error = open_loop_error(Off(errors), drift())
    assert np.isposinf(error.rmse).all()
    assert np.isneginf(error.r2).all()
    np.testing.assert_array_equal(error.step_rmse[:, 29], 0)
    assert np.isposinf(error.step_rmse[:, 30]).all()
    assert error.to_json()["agents"][0]["rmse"] is None


def test_what_comes_after_the_end_does_not_count():
    # Agent 2 walks 3 a step: beyond 44 after 15 steps, of which 10 are real. Agent 0 after 45.
    errors = np.zeros((1, 50, 2))
    errors[0, :5], errors[0, 5:] = 1.0, 1e6
    error = open_loop_error(Off(errors), drift(44.0))
    assert error.rmse[1] == pytest.approx(1.0)
    np.testing.assert_array_equal(error.step_episodes[1], [3] * 5 + [0] * 45)
    assert np.isnan(error.horizon_rmse(6)[1])
    np.testing.assert_array_equal(error.step_episodes[0], [3] * 35 + [0] * 15)
    assert error.rmse[0] == pytest.approx(math.sqrt((5 + 30e12) / 35))
    np.testing.assert_array_equal(error.traces.valid.sum(axis=1), [35] * 3 + [5] * 3)


def test_an_episode_that_ends_in_the_real_steps_is_left_out():
    error = open_loop_error(Off(np.ones((1, 1, 2))), drift(29.0))  # agent 2 ends with step 10
    np.testing.assert_array_equal(error.episodes, [3, 0])
    assert error.rmse[0] == pytest.approx(1.0)
    assert np.isnan([error.rmse[1], error.r2[1], *error.coordinate_rmse[1]]).all()


def test_traces_are_the_first_of_the_longest_episodes():
    seen = drift(episodes=4)
    error = open_loop_error(Off(np.ones((2, 1, 2))), seen, traces=2)
    np.testing.assert_array_equal(error.traces.agents, [0, 0, 2, 2])
    assert error.traces.predicted.shape == (2, 4, 50, 2)
    np.testing.assert_array_equal(error.traces.true, seen.true[[0, 1, 4, 5]])
    np.testing.assert_array_equal(error.traces.before, seen.obs[[0, 1, 4, 5], :11])
    np.testing.assert_array_equal(error.traces.predicted, np.stack([error.traces.true + 1] * 2))


def test_evaluate_follows_the_scripted_policy_in_truth(cartpole):
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population(12))
    seen = follow(
        cartpole.task, true, [1, 4], scripted_policy("cartpole"), episodes=3, seed=2, horizon=20
    )
    by_hand = open_loop_error(cartpole, seen)
    found = evaluate(cartpole, [1, 4], episodes=3, seed=2, horizon=20, population=12)
    np.testing.assert_array_equal(found.rmse, by_hand.rmse)
    assert (found.rmse > 0).all()
    other = evaluate(cartpole, [1, 4], episodes=3, seed=2, horizon=20, policy="random")
    assert (found.rmse != other.rmse).all()
