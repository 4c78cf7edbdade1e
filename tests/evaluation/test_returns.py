"""Returns of policies in true and learned worlds."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.returns import episode_returns, start_seeds
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.learned.simulator import PerSim
from persim_gym.planning import MPC, RandomShooting
from persim_gym.planning.planner import Plan
from tests.evaluation.worlds import (
    DriftDynamics,
    DriftTask,
    count_up,
)


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
