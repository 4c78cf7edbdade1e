"""True dynamics: Gymnasium's own with default covariates, and formulas written out for others."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from persim_gym.envs import SUITES, Population, Suite
from tests.envs.physics import one, rows


def swinging(obs: np.ndarray) -> int:
    """A policy that reaches the goal of the default mountain car."""
    return 2 if obs[1] >= 0 else 0


def balancing(obs: np.ndarray) -> int:
    """A policy that keeps the default pole upright for the whole episode."""
    return int(obs[2] + 0.5 * obs[3] + 0.02 * obs[0] + 0.05 * obs[1] > 0)


@pytest.mark.parametrize("policy", ["good", "random"])
@pytest.mark.parametrize("name", ["cartpole", "mountain-car"])
def test_whole_episodes_are_gymnasiums(name: str, policy: str) -> None:
    env_id = {"cartpole": "CartPole-v1", "mountain-car": "MountainCar-v0"}[name]
    act = {"cartpole": balancing, "mountain-car": swinging}[name]
    suite = SUITES[name]
    limit = suite.task().max_episode_steps
    ours = gym.make(suite.env_id, covariates={})
    theirs = gym.make(env_id, max_episode_steps=limit)
    rng = np.random.default_rng(0)
    for seed in range(3):
        obs, _ = ours.reset(seed=seed)
        expected, _ = theirs.reset(seed=seed)
        np.testing.assert_array_equal(obs, expected)
        length = 0
        while True:
            action = act(obs) if policy == "good" else int(rng.integers(ours.action_space.n))
            obs, reward, terminated, truncated, _ = ours.step(action)
            expected, their_reward, *theirs_end, _ = theirs.step(action)
            np.testing.assert_allclose(obs, expected, rtol=1e-6, atol=1e-7)
            assert [terminated, truncated] == theirs_end
            if name == "mountain-car":
                their_reward += terminated
            assert reward == their_reward
            length += 1
            if terminated or truncated:
                break
        if policy == "good":
            assert terminated == (name == "mountain-car")
            assert (length == 200) == (name == "cartpole")


def test_each_covariate_changes_the_next_state(suite: Suite) -> None:
    for column in suite.covariates.columns:
        ends = [
            Population.single(suite.covariates, {column.name: value})
            for value in (column.low, column.high)
        ]
        _, states, actions = rows(suite, 20)
        low, high = (suite.dynamics(end).step(np.zeros(20, int), states, actions) for end in ends)
        assert (low != high).any(axis=1).mean() > 0.9, column.name


def test_rows_do_not_depend_on_each_other(suite: Suite) -> None:
    dynamics = suite.dynamics(suite.population())
    agents, states, actions = rows(suite, 37)
    together = dynamics.step(agents, states, actions)
    assert together.shape == states.shape
    alone = [
        one(dynamics, agent, state, action)
        for agent, state, action in zip(agents, states, actions, strict=True)
    ]
    np.testing.assert_array_equal(together, alone)
    order = np.random.default_rng(0).permutation(37)
    np.testing.assert_array_equal(
        dynamics.step(agents[order], states[order], actions[order]), together[order]
    )


def test_a_step_is_stateless_and_leaves_its_arguments(suite: Suite) -> None:
    dynamics = suite.dynamics(suite.population())
    given = rows(suite, 9)
    before = [array.copy() for array in given]
    first = dynamics.step(*given)
    kept = first.copy()
    dynamics.step(*rows(suite, 9, seed=1))
    np.testing.assert_array_equal(first, kept, err_msg="a returned array is the caller's")
    np.testing.assert_array_equal(dynamics.step(*given), kept)
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("name", ["cartpole", "mountain-car"])
def test_single_rows_are_bit_for_bit_the_batch(name: str) -> None:
    suite = SUITES[name]
    dynamics = suite.dynamics(suite.population())
    agents, states, actions = rows(suite, 1003)
    together = dynamics.step(agents, states, actions)
    alone = [
        dynamics.step_row(agent, state, action)
        for agent, state, action in zip(
            agents.tolist(), states.tolist(), actions.tolist(), strict=True
        )
    ]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies(suite: Suite, how: object) -> None:
    dynamics = suite.dynamics(suite.population(6))
    agents, states, actions = rows(suite, 5)
    agents %= 6
    expected = dynamics.step(agents, states, actions)
    twin = how(dynamics)  # type: ignore[operator]
    assert twin.num_agents == 6
    np.testing.assert_array_equal(twin.step(agents, states, actions), expected)
