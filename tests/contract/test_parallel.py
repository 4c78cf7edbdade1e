"""The PettingZoo environments: the library's own tests, and equality with scalar environments."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo.test import parallel_api_test, parallel_seed_test

import persim_gym
import persim_gym.envs.parallel
from persim_gym.envs import SimParallelEnv, find_suite
from tests.contract.worlds import (
    AGENTS,
    LIMITS,
    actions_for,
    quiet_info,
)


def make(env_id: str, **kwargs: Any) -> SimParallelEnv:
    return persim_gym.parallel_env(env_id, **{"agents": AGENTS[env_id], **kwargs})


def actions_of(env: SimParallelEnv, rng: np.random.Generator) -> dict[str, Any]:
    return {name: actions_for(env.action_space(name), rng) for name in env.agents}


def test_pettingzoo_api(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    parallel_api_test(make(env_id, max_episode_steps=LIMITS[env_id]), num_cycles=60)
    assert "Passed" in capsys.readouterr().out


def test_pettingzoo_seed(env_id: str) -> None:
    parallel_seed_test(lambda: make(env_id), num_cycles=20)


def test_equals_scalar_environments_bit_for_bit(env_id: str) -> None:
    agents, limit = AGENTS[env_id], LIMITS[env_id]
    env = make(env_id, max_episode_steps=limit)
    scalars = {
        f"agent_{agent}": gym.make(env_id, agent=agent, max_episode_steps=limit) for agent in agents
    }
    assert env.possible_agents == list(scalars)
    rng = np.random.default_rng(0)
    for episode in range(3):
        seed = 20 if episode == 0 else None
        obs, infos = env.reset(seed=seed)
        for lane, (name, scalar) in enumerate(scalars.items()):
            expected, info = scalar.reset(seed=None if seed is None else seed + lane)
            np.testing.assert_array_equal(obs[name], expected)
            assert infos[name] == info == quiet_info(env_id, agents[lane])
        assert env.agents == env.possible_agents
        while env.agents:
            running = list(env.agents)
            actions = actions_of(env, rng)
            results = env.step(actions)
            for part in results:
                assert list(part) == running
            for name in running:
                ours = tuple(part[name] for part in results)
                expected = scalars[name].step(actions[name])
                assert data_equivalence(ours, expected, exact=True)
                assert [type(part) for part in ours] == [type(part) for part in expected]
                assert (name in env.agents) == (not (ours[2] or ours[3]))


def test_returned_arrays_are_the_callers(env_id: str) -> None:
    env, other = make(env_id), make(env_id)
    rng = np.random.default_rng(0)
    kept: list[Any] = [env.reset(seed=0)]
    other.reset(seed=0)
    copies = copy.deepcopy(kept)
    for _ in range(3):
        actions = actions_of(env, rng)
        kept.append(env.step(actions))
        copies.append(copy.deepcopy(kept[-1]))
        other.step(actions)
    assert data_equivalence(kept, copies, exact=True)
    for seen in kept:
        for row in seen[0].values():
            row[...] = 1
    actions = actions_of(env, rng)
    assert data_equivalence(env.step(actions), other.step(actions), exact=True)


def test_spaces_are_the_agents_own(env_id: str) -> None:
    env = make(env_id)
    first, second, _ = env.possible_agents
    assert env.action_space(first) == gym.make(env_id).action_space
    assert env.observation_space(first) == gym.make(env_id).observation_space
    for name in (first, second):
        env.action_space(name).seed(3)
    draws = [np.stack([env.action_space(n).sample() for _ in range(9)]) for n in (first, second)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(env_id: str, how: Any) -> None:
    env = make(env_id, render_mode="rgb_array")
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    env.step(actions_of(env, rng))
    twin = how(env)
    actions = actions_of(env, rng)
    assert data_equivalence(env.step(actions), twin.step(actions), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)


def test_population_and_time_limit(env_id: str) -> None:
    population = {"size": 6, "seed": 9}
    env = make(env_id, agents=[5], population=population, max_episode_steps=2)
    scalar = gym.make(env_id, agent=5, population=population)
    env.reset(seed=0)
    scalar.reset(seed=0)
    actions = actions_of(env, np.random.default_rng(0))
    obs, _, _, truncations, _ = env.step(actions)
    np.testing.assert_array_equal(obs["agent_5"], scalar.step(actions["agent_5"])[0])
    assert truncations == {"agent_5": False}
    assert env.step(actions)[3] == {"agent_5": True}
    registered = make(env_id)
    assert registered._lanes.max_episode_steps == gym.spec(env_id).max_episode_steps


def test_states_given_to_a_reset(env_id: str) -> None:
    env = make(env_id)
    d = find_suite(env_id).task().observation_space.shape[0]
    state = np.linspace(0.001, 0.01, d)
    obs, _ = env.reset(seed=3, options={"state": state})
    for row in obs.values():
        np.testing.assert_array_equal(row, state.astype(np.float32))
    first, second, _ = env.possible_agents
    drawn, _ = env.reset(seed=3)
    mixed, _ = env.reset(seed=3, options={"state": {second: state}})
    np.testing.assert_array_equal(mixed[second], state.astype(np.float32))
    np.testing.assert_array_equal(mixed[first], drawn[first])
    # A given state uses up none of the agent's own starts, as in a scalar environment.
    np.testing.assert_array_equal(env.reset()[0][second], drawn[second])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agent": 1}, "unknown reset option 'agent': there is 'state'"),
        ({"state": {"agent_99": [0.0]}}, "there is no agent 'agent_99' here .*: agent_"),
        ({"state": [np.nan]}, "a state must"),
        ({"state": "start"}, "a state must"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(env_id: str, options: dict[str, Any], message: str) -> None:
    env, other = make(env_id), make(env_id)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(seed=4, options=options)
    actions = actions_of(env, np.random.default_rng(0))
    assert data_equivalence(env.step(actions), other.step(actions), exact=True)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"agents": []}, ValueError, "a sequence of at least one agent"),
        ({"agents": 3}, ValueError, "a sequence of at least one agent, got 3"),
        ({"agents": [0, 1, 0]}, ValueError, r"an agent is named twice in \[0, 1, 0\]"),
        ({"agents": [0, 500]}, ValueError, "agent 500 does not exist"),
        ({"agents": [-1]}, ValueError, "agent -1 does not exist"),
        ({"agents": [0.0]}, TypeError, "agents must be integers"),
        ({"agents": [True]}, TypeError, "agents must be integers"),
        ({"agents": [0], "render_mode": "ansi"}, ValueError, "render_mode must be None or one of"),
        ({"agents": [0], "max_episode_steps": 0}, ValueError, "must be a positive integer"),
        ({"agents": [0], "population": "all"}, TypeError, "population must be a size"),
        ({"agents": [0], "colour": "red"}, TypeError, "colour"),
    ],
    ids=str,
)
def test_invalid_arguments_are_refused(
    env_id: str, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        persim_gym.parallel_env(env_id, **kwargs)


def test_invalid_actions_are_refused(env_id: str) -> None:
    env, other = make(env_id), make(env_id)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step({})
    env.reset(seed=0)
    other.reset(seed=0)
    good = actions_of(env, np.random.default_rng(0))
    first, *rest = env.agents
    wrong = [
        ({name: good[name] for name in rest}, ValueError, "one action for each running agent"),
        ({**good, "agent_99": good[first]}, ValueError, "one action for each running agent"),
        ({**good, first: 77}, ValueError, "must"),
        ({**good, first: np.full(6, np.nan)}, ValueError, "must"),
        (list(good.values()), TypeError, "actions must be a dictionary"),
        (None, TypeError, "actions must be a dictionary"),
    ]
    for actions, error, message in wrong:
        with pytest.raises(error, match=message):
            env.step(actions)
    if isinstance(env.action_space(first), gym.spaces.Discrete):
        with pytest.raises(TypeError, match="discrete actions must be integers"):
            env.step({**good, first: 1.0})
    assert data_equivalence(env.step(good), other.step(good), exact=True)


def test_metadata_names_the_task(env_id: str) -> None:
    env = make(env_id)
    task = find_suite(env_id).task()
    assert env.metadata["name"] == f"persim_{task.name.replace('-', '_')}_v0"
    assert env.metadata["render_fps"] == task.render_fps
    assert env.metadata["is_parallelizable"]
