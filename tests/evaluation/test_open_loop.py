from __future__ import annotations

import dataclasses
import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.episodes import Episodes, follow
from persim_gym.evaluation.open_loop import evaluate, explained_variance, open_loop_error
from persim_gym.evaluation.references import Persistence, PooledModel, pooled
from persim_gym.evaluation.returns import episode_returns, start_seeds
from persim_gym.learned.env import GuardedSimulator
from persim_gym.learned.simulator import PerSim
from persim_gym.planning import MPC, RandomShooting
from persim_gym.planning.planner import Plan
from persim_gym.policies.scripted import scripted_policy
from tests.evaluation.worlds import DriftDynamics, DriftTask, Off, count_up, random_transitions


def drift(line: float = math.inf, **options) -> Episodes:
    options = {"episodes": 3, "warmup": 10, "horizon": 50, **options}
    return follow(DriftTask(line), DriftDynamics(), [0, 2], count_up, **options)


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


def test_traces_are_the_first_of_the_longest_episodes():
    seen = drift(episodes=4)
    error = open_loop_error(Off(np.ones((2, 1, 2))), seen, traces=2)
    np.testing.assert_array_equal(error.traces.agents, [0, 0, 2, 2])
    assert error.traces.predicted.shape == (2, 4, 50, 2)
    np.testing.assert_array_equal(error.traces.true, seen.true[[0, 1, 4, 5]])
    np.testing.assert_array_equal(error.traces.before, seen.obs[[0, 1, 4, 5], :11])
    np.testing.assert_array_equal(error.traces.predicted, np.stack([error.traces.true + 1] * 2))


# -- references ------------------------------------------------------------------------------------


def test_persistence_repeats_the_last_real_state():
    seen = drift()
    error = open_loop_error(Persistence(), seen)
    away = seen.true - seen.obs[:, 10:11]
    np.testing.assert_allclose(
        error.rmse, np.sqrt((away**2).mean(axis=(1, 2))).reshape(2, 3).mean(axis=1)
    )
    np.testing.assert_array_equal(error.step_rmse[:, 0] > 0, [True, True])


def test_one_for_all_asks_for_agent_0():
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


# -- returns ---------------------------------------------------------------------------------------


def alternate(obs):
    """Depends on what it sees, and ends episodes of CartPole at different times."""
    return (np.floor(np.abs(obs[:, 0]) * 1e4) % 2).astype(np.int64)


@pytest.mark.parametrize("env_id", ["PerSim-CartPole-v0", "PerSim-HalfCheetah-v0"])
def test_returns_are_those_of_a_loop_over_environments(env_id):
    limit = 60 if "Cart" in env_id else 4
    suite = find_suite(env_id)
    task, true = suite.task(), suite.dynamics(suite.population())

    def push(obs):
        return np.tanh(obs[:, 3:9] * 1e3).astype(np.float32)

    policy = alternate if "Cart" in env_id else push
    found = episode_returns(task, true, [0, 4], policy, 3, seed=7, max_episode_steps=limit)
    expected = np.zeros((2, 3))
    for row, agent in enumerate([0, 4]):
        env = gym.make(env_id, agent=agent, max_episode_steps=limit)
        for episode, seed in enumerate(start_seeds(7, 3)):
            obs, _ = env.reset(seed=seed)
            over = False
            while not over:
                obs, reward, terminated, truncated, _ = env.step(policy(obs[None])[0])
                expected[row, episode] += reward
                over = terminated or truncated
        env.close()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(np.unique(found)) > 3


def test_returns_inside_a_simulator_are_those_of_its_environment(cartpole):
    found = episode_returns(
        cartpole.task, GuardedSimulator(cartpole), [1, 2], alternate, 3, max_episode_steps=30
    )
    for row, agent in enumerate([1, 2]):
        env = cartpole.env(agent, max_episode_steps=30)
        for episode, seed in enumerate(start_seeds(0, 3)):
            obs, _ = env.reset(seed=seed)
            total, over = 0.0, False
            while not over:
                obs, reward, terminated, truncated, _ = env.step(alternate(obs[None])[0])
                total += reward
                over = terminated or truncated
            assert found[row, episode] == total


def test_the_guard_cuts_returns_short(cartpole):
    strict = PerSim(
        cartpole.ensemble,
        cartpole.task,
        dataclasses.replace(cartpole.experience, disagreement_limit=0.0),
        {},
    )
    guarded = episode_returns(cartpole.task, GuardedSimulator(strict), [1], alternate, 2)
    free = episode_returns(cartpole.task, GuardedSimulator(strict, guard=False), [1], alternate, 2)
    np.testing.assert_array_equal(guarded, 1)
    assert (free > 1).all()


def test_the_time_limit_is_the_tasks_or_a_given_one():
    task, world = DriftTask(), DriftDynamics()
    np.testing.assert_array_equal(episode_returns(task, world, [0, 3], count_up, 1), [[100], [400]])
    short = episode_returns(task, world, [0, 3], count_up, 1, max_episode_steps=5)
    np.testing.assert_array_equal(short, [[5], [20]])
    # The reward of the step that ends the episode counts.
    ended = episode_returns(DriftTask(10.0), world, [0, 3], count_up, 1)
    np.testing.assert_array_equal(ended, [[11], [12]])


def test_progress_comes_to_its_end():
    told: list[tuple[int, int]] = []
    episode_returns(
        DriftTask(10.0), DriftDynamics(), [0, 3], count_up, 2,
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (400, 400)
    assert len(told) == 11


def test_random_actions_follow_the_seed():
    suite = find_suite("cartpole")
    task, true = suite.task(), suite.dynamics(suite.population())
    first, again, other = (
        episode_returns(task, true, [0, 1], "random", 10, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # An agent's episodes do not depend on who else is judged.
    np.testing.assert_array_equal(episode_returns(task, true, [1], "random", 10)[0], first[1])


class Remembering:
    """A planner whose plans are the rows' numbers, so that it sees whether they are kept apart."""

    horizon = 2

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def plan(self, score, space, problems, previous, fresh, generator):
        plans = torch.arange(problems)[:, None].repeat(1, 2) if previous is None else previous
        self.seen.append(plans[:, 0].tolist())
        return Plan(actions=plans, action=plans[:, 0] % 2, returns=torch.zeros(problems))


def test_mpc_keeps_the_plans_of_the_rows_that_still_run():
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population())
    planner = Remembering()
    mpc = MPC(true, task=suite.task(), planner=planner)
    found = episode_returns(suite.task(), true, [0, 2, 4], mpc, 2).ravel()
    assert planner.seen[0] == [0, 1, 2, 3, 4, 5]
    for step, rows in enumerate(planner.seen):
        assert rows == [row for row in range(6) if found[row] > step]
    assert len(set(found)) > 2


def test_mpc_plans_for_the_agent_of_each_row():
    # Agent k walks k + 1 by itself: what is best depends on nothing, but whose row it is must be
    # known to the dynamics that is planned in.
    asked: list[list[int]] = []

    class Spy(DriftDynamics):
        def step(self, agents, states, actions):
            asked.append(sorted(set(np.asarray(agents).tolist())))
            return super().step(agents, states, actions)

    mpc = MPC(Spy(), agent=1, task=DriftTask(), planner=RandomShooting(4, 2))
    episode_returns(DriftTask(), DriftDynamics(), [0, 3], mpc, 1, max_episode_steps=2)
    assert asked == [[0, 3]] * 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"episodes": 0}, ValueError, "episodes must be at least 1"),
        ({"episodes": 2.5}, TypeError, "episodes must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"agents": [0, 4]}, ValueError, "agent 4 does not exist"),
        ({"agents": [0, 0]}, ValueError, "different agents"),
        ({"agents": []}, ValueError, "one or more different agents"),
        ({"policy": "greedy"}, ValueError, "greedy"),
        ({"policy": 3}, TypeError, "policy"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    options = {"agents": [0], "policy": count_up, **change}
    with pytest.raises(error, match=message):
        episode_returns(DriftTask(), DriftDynamics(), **options)


def test_a_horizon_must_be_positive():
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        drift(horizon=0)
    with pytest.raises(ValueError, match="warmup must be at least 0"):
        drift(warmup=-1)
