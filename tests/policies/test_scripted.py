from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES, find_suite
from persim_gym.envs.tasks.half_cheetah import GAIT_PHASES
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.returns import episode_returns
from persim_gym.policies.scripted import scripted_policy

pytestmark = pytest.mark.usefixtures("root")


@pytest.mark.parametrize("name", SUITES)
def test_a_policy_acts_in_its_space(name):
    suite = find_suite(name)
    task, policy = suite.task(), scripted_policy(suite.env_id, seed=1)
    rows = task.sample_start(np.random.default_rng(0), 5).astype(np.float32)
    actions, state = policy.predict(rows)
    assert all(task.action_space.contains(action) for action in actions)
    one, _ = policy.predict(rows[0])
    assert task.action_space.contains(one)
    again, _ = scripted_policy(name, seed=1).predict(rows)
    np.testing.assert_array_equal(actions, again)


def test_a_tenth_of_the_actions_is_random():
    suite = find_suite("mountain-car")
    true = suite.dynamics(suite.population())
    seen = follow(
        suite.task(), true, [4], scripted_policy("mountain-car"), episodes=200, warmup=0, horizon=50
    )
    ruled = np.where(seen.obs[:, :-1, 1] >= 0, 2, 0)
    alive = np.arange(50) < seen.lengths[:, None]
    strays = (seen.actions != ruled)[alive].mean()
    assert strays == pytest.approx(0.1 * 2 / 3, abs=0.01)  # a random action may be the rule's


def test_scripts_do_better_than_random_actions():
    for name, agent in (("mountain-car", 4), ("cartpole", 3)):
        suite = find_suite(name)
        task, true = suite.task(), suite.dynamics(suite.population())
        script, random = (
            episode_returns(task, true, [agent], policy, 5).mean()
            for policy in (scripted_policy(name), "random")
        )
        assert script > random + 100


def test_the_gait_is_a_sine_of_time_in_each_joint():
    policy = scripted_policy("half-cheetah").policy
    obs, state, seen = np.zeros((3, 18)), None, []
    for _ in range(40):
        action, state = policy.predict(obs, state)
        seen.append(action)
    waves = np.stack(seen)  # [time, row, joint]
    frequency, amplitude = 1 + 2 * state[:, 1], 0.4 + 0.6 * state[:, 2]
    turns = frequency[:, None] * 0.05 * np.arange(40)[:, None, None] - GAIT_PHASES
    np.testing.assert_allclose(waves, amplitude[:, None] * np.sin(2 * np.pi * turns), atol=1e-6)
    assert len(set(frequency)) == 3
    first, _ = policy.predict(obs, state, np.array([False, True, False]))
    np.testing.assert_allclose(first[1], waves[0, 1], atol=1e-6)  # begins anew
    assert np.abs(first[0] - waves[0, 0]).max() > 0.01


def test_styles_differ_from_episode_to_episode_by_the_seed():
    suite = find_suite("half-cheetah")
    true = suite.dynamics(suite.population(2))
    options = {"episodes": 3, "warmup": 0, "horizon": 2}
    policy = scripted_policy("half-cheetah").policy
    seen = follow(suite.task(), true, [0, 1], policy, **options)
    assert len(np.unique(seen.actions[:, 1, 0])) == 6
    again = follow(suite.task(), true, [0, 1], policy, **options)
    np.testing.assert_array_equal(seen.actions, again.actions)
    other = follow(suite.task(), true, [0, 1], policy, seed=1, **options)
    assert (seen.actions[:, 1] != other.actions[:, 1]).any(axis=1).all()


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="unknown task 'walker'"):
        scripted_policy("walker")
