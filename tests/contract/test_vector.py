"""The vector environments: equal to scalar ones lane by lane, in all three autoreset modes."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from persim_gym.envs import SimVectorEnv, find_suite
from tests.contract.worlds import (
    AGENTS,
    LIMITS,
    actions_for,
    assert_same_infos,
    native,
)

MODES = list(AutoresetMode)


def of_scalars(env_id: str, agents: Any, limit: int, mode: AutoresetMode) -> SyncVectorEnv:
    makers = [
        lambda agent=agent: gym.make(env_id, agent=agent, max_episode_steps=limit)
        for agent in agents
    ]
    return SyncVectorEnv(makers, autoreset_mode=mode)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_equals_scalar_environments_bit_for_bit(env_id: str, mode: AutoresetMode) -> None:
    agents, limit = AGENTS[env_id], LIMITS[env_id]
    ours = native(env_id, agents=agents, max_episode_steps=limit, autoreset_mode=mode)
    theirs = of_scalars(env_id, agents, limit, mode)
    rng = np.random.default_rng(0)
    obs, infos = ours.reset(seed=10)
    expected, expected_infos = theirs.reset(seed=10)
    np.testing.assert_array_equal(obs, expected)
    assert_same_infos(infos, expected_infos)
    ends = np.zeros((2, len(agents)), dtype=int)
    done = np.zeros(len(agents), dtype=np.bool_)
    for _ in range(5 * limit):
        if mode is AutoresetMode.DISABLED and done.any():
            obs, infos = ours.reset(options={"reset_mask": done})
            expected, expected_infos = theirs.reset(options={"reset_mask": done})
            np.testing.assert_array_equal(obs, expected)
            assert_same_infos(infos, expected_infos)
        actions = actions_for(ours.single_action_space, rng, len(agents))
        obs, reward, terminated, truncated, infos = ours.step(actions)
        expected = theirs.step(actions)
        for mine, other in zip((obs, reward, terminated, truncated), expected[:4], strict=True):
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other)
        assert_same_infos(infos, expected[4])
        done = terminated | truncated
        ends += terminated, truncated
    assert (ends.sum(axis=0) >= 3).all(), "several episodes of each lane were compared"
    assert ends[1].any()
    assert ends[0].any() or env_id == "PerSim-HalfCheetah-v0"


def test_a_lane_has_the_starts_of_its_seed_in_every_episode(env_id: str) -> None:
    # More episodes than starts are drawn at once; a one-step limit makes each step an episode.
    ours = native(
        env_id, 2, agents=[3, 0], max_episode_steps=1, autoreset_mode=AutoresetMode.SAME_STEP
    )
    scalar = gym.make(env_id, agent=0)
    starts, expected = [ours.reset(seed=4)[0][1]], [scalar.reset(seed=5)[0]]
    actions = actions_for(ours.single_action_space, np.random.default_rng(0), 2)
    for _ in range(130):
        starts.append(ours.step(actions)[0][1])
        expected.append(scalar.reset()[0])
    np.testing.assert_array_equal(starts, expected)
    assert len(np.unique(starts, axis=0)) == len(starts)


def test_observations_are_in_the_space(env_id: str) -> None:
    envs = native(env_id, 3)
    obs, _ = envs.reset(seed=0)
    assert obs in envs.observation_space
    assert obs.flags.c_contiguous
    envs.action_space.seed(0)
    for _ in range(5):
        obs, *_ = envs.step(envs.action_space.sample())
        assert obs in envs.observation_space
        assert obs.flags.c_contiguous
    assert envs.observation_space.shape == (3, *envs.single_observation_space.shape)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_returned_arrays_are_the_callers(env_id: str, mode: AutoresetMode) -> None:
    """Whatever a caller keeps stays as it was, and whatever he writes into it harms nothing."""
    limit = 3
    envs, untouched = (
        native(env_id, agents=AGENTS[env_id], max_episode_steps=limit, autoreset_mode=mode)
        for _ in range(2)
    )
    rng = np.random.default_rng(0)
    kept: list[Any] = [envs.reset(seed=0)]
    copies = copy.deepcopy(kept)
    untouched.reset(seed=0)
    for step in range(3 * limit):
        if mode is AutoresetMode.DISABLED and step % limit == 0 and step:
            everyone = {"reset_mask": np.ones(3, dtype=np.bool_)}
            kept.append(envs.reset(options=everyone))
            untouched.reset(options=everyone)
            copies.append(copy.deepcopy(kept[-1]))
        actions = actions_for(envs.single_action_space, rng, 3)
        before = actions.copy()
        kept.append(envs.step(actions))
        copies.append(copy.deepcopy(kept[-1]))
        np.testing.assert_array_equal(actions, before)
        untouched.step(actions)
    assert data_equivalence(kept, copies, exact=True)
    for seen in kept:
        for part in seen[:-1]:
            part[...] = 1
    if mode is AutoresetMode.DISABLED:
        for each in (envs, untouched):
            each.reset(options={"reset_mask": np.ones(3, dtype=np.bool_)})
    actions = actions_for(envs.single_action_space, rng, 3)
    assert data_equivalence(envs.step(actions), untouched.step(actions), exact=True)


def test_seeds(env_id: str) -> None:
    envs = native(env_id, 3, agents=1)
    starts = {seed: gym.make(env_id, agent=1).reset(seed=seed)[0] for seed in (7, 8, 9, 30)}
    obs, _ = envs.reset(seed=7)
    np.testing.assert_array_equal(obs, [starts[7], starts[8], starts[9]])
    np.testing.assert_array_equal(envs.reset(seed=np.int64(7))[0], obs)
    second, _ = envs.reset()
    assert (second != obs).any(axis=1).all()
    envs.reset(seed=7)
    # None leaves a lane's own stream as it is.
    mixed, _ = envs.reset(seed=[30, None, 7])
    np.testing.assert_array_equal(mixed, [starts[30], second[1], starts[7]])
    with pytest.raises(ValueError, match="give one seed, or 3, one a lane; got 2"):
        envs.reset(seed=[1, 2])


def test_seeds_of_masked_lanes(env_id: str) -> None:
    envs = native(env_id, 3, agents=1)
    before, _ = envs.reset(seed=7)
    mask = np.array([False, True, True])
    obs, _ = envs.reset(seed=[0, 30, None], options={"reset_mask": mask})
    np.testing.assert_array_equal(obs[0], before[0])
    np.testing.assert_array_equal(obs[1], gym.make(env_id).reset(seed=30)[0])
    scalar = gym.make(env_id)
    scalar.reset(seed=9)
    np.testing.assert_array_equal(obs[2], scalar.reset()[0])


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (None, [0, 1, 2]),
        (4, [4, 4, 4]),
        (np.int64(4), [4, 4, 4]),
        (range(2, 5), [2, 3, 4]),
        (range(6, 0, -2), [6, 4, 2]),
        ([7, 0, 7], [7, 0, 7]),
        (np.array([3, 2, 1], dtype=np.int32), [3, 2, 1]),
        ((1, np.int64(2), 3), [1, 2, 3]),
    ],
    ids=str,
)
def test_agents_of_lanes(env_id: str, agents: Any, expected: list[int]) -> None:
    envs = native(env_id, 3, agents=agents) if agents is not None else native(env_id, 3)
    assert envs.agents.tolist() == expected
    obs, infos = envs.reset(seed=0)
    assert infos["agent"].tolist() == expected
    assert infos["agent"].dtype == np.int64
    envs.agents[:] = 0
    assert envs.agents.tolist() == expected, "what is given out is a copy"


def test_more_lanes_than_agents_begin_again_from_the_first(env_id: str) -> None:
    assert native(env_id, 5, population=3).agents.tolist() == [0, 1, 2, 0, 1]


def test_lanes_of_given_covariates(env_id: str) -> None:
    suite = find_suite(env_id)
    envs = native(env_id, 2, covariates=suite.population().covariates(1))
    other = native(env_id, 2, agents=1)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 2)
    envs.reset(seed=0)
    other.reset(seed=0)
    np.testing.assert_array_equal(envs.step(actions)[0], other.step(actions)[0])


def test_agents_given_to_a_reset_stay(env_id: str) -> None:
    envs = native(env_id, 3)
    assert envs.reset(options={"agent": 5})[1]["agent"].tolist() == [5, 5, 5]
    assert envs.reset(options={"agent": np.array([6, 7, 8])})[1]["agent"].tolist() == [6, 7, 8]
    assert envs.reset()[1]["agent"].tolist() == [6, 7, 8]
    mask = np.array([True, False, True])
    envs.reset(options={"agent": [1, 2, 3], "reset_mask": mask})
    assert envs.agents.tolist() == [1, 7, 3], "lanes that go on keep their agent"


def test_states_given_to_a_reset(env_id: str) -> None:
    envs = native(env_id, 3, agents=[0, 1, 2])
    d = envs.single_observation_space.shape[0]
    states = np.linspace(0.0, 0.02, 3 * d).reshape(3, d)
    obs, _ = envs.reset(seed=0, options={"state": states})
    np.testing.assert_array_equal(obs, states.astype(np.float32))
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 3)
    after = envs.step(actions)[0]
    for lane in range(3):
        scalar = gym.make(env_id, agent=lane)
        scalar.reset(options={"state": states[lane]})
        np.testing.assert_array_equal(after[lane], scalar.step(actions[lane])[0])
    obs, _ = envs.reset(options={"state": states[1]})
    np.testing.assert_array_equal(obs, np.tile(states[1].astype(np.float32), (3, 1)))
    obs, _ = envs.reset(options={"state": states, "reset_mask": np.array([True, False, False])})
    np.testing.assert_array_equal(obs[:2], states[:2].astype(np.float32))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"agnet": 1}, ValueError, "unknown reset option 'agnet' .*: there are agent, reset_mask"),
        ({"agent": 500}, ValueError, "agent 500 does not exist"),
        ({"agent": [0, 1, -1]}, ValueError, "agent -1 does not exist"),
        ({"agent": [0, 1]}, ValueError, "one agent or 3 of them"),
        ({"agent": 1.0}, TypeError, "agent must be an integer"),
        ({"agent": [0.0, 1.0, 2.0]}, TypeError, "agents must be integers"),
        ({"agent": True}, TypeError, "agent must be an integer"),
        ({"agent": [True, False, True]}, TypeError, "agents must be integers"),
        ({"state": [np.nan] * 18}, ValueError, "a state must"),
        ({"state": np.zeros((2, 3))}, ValueError, "a state must have shape"),
        ({"reset_mask": [True, False, True]}, TypeError, "reset_mask must be an array of bool"),
        ({"reset_mask": np.ones(3)}, TypeError, "reset_mask must be an array of bool"),
        ({"reset_mask": np.ones(2, dtype=np.bool_)}, ValueError, r"must have shape \(3,\)"),
        ({"reset_mask": np.zeros(3, dtype=np.bool_)}, ValueError, "at least one lane"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(
    env_id: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    envs, other = native(env_id, 3), native(env_id, 3)
    envs.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(error, match=message):
        envs.reset(seed=5, options=options)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 3)
    # The refused reset has changed nothing.
    assert data_equivalence(envs.step(actions), other.step(actions), exact=True)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_envs": 3, "agents": range(3)},
        {"num_envs": 1},
        {"num_envs": 2, "agents": np.array([3, 1]), "population": "object"},
        {"num_envs": 2, "autoreset_mode": AutoresetMode.SAME_STEP, "max_episode_steps": 2},
        {"num_envs": 2, "agents": np.int64(2), "autoreset_mode": "disabled"},
    ],
    ids=str,
)
def test_a_spec_survives_json(env_id: str, kwargs: dict[str, Any]) -> None:
    kwargs = dict(kwargs)
    if kwargs.get("population") == "object":
        kwargs["population"] = find_suite(env_id).population({"size": 4, "seed": 1})
    envs = native(env_id, **kwargs)
    text = envs.spec.to_json()
    json.loads(text)
    again = gym.make_vec(EnvSpec.from_json(text))
    assert isinstance(again, SimVectorEnv)
    assert again.num_envs == envs.num_envs
    assert again.autoreset_mode is envs.autoreset_mode
    assert again.agents.tolist() == envs.agents.tolist()
    assert again.spec == EnvSpec.from_json(text)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), envs.num_envs)
    for each in (envs, again):
        each.reset(seed=1)
    for _ in range(2):
        assert data_equivalence(envs.step(actions), again.step(actions), exact=True)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))])
def test_a_copy_goes_on_by_itself(env_id: str, how: Any) -> None:
    envs = native(env_id, 3, max_episode_steps=3, render_mode="rgb_array")
    envs.reset(seed=1)
    rng = np.random.default_rng(0)
    envs.step(actions_for(envs.single_action_space, rng, 3))
    twin = how(envs)
    for _ in range(5):
        actions = actions_for(envs.single_action_space, rng, 3)
        assert data_equivalence(envs.step(actions), twin.step(actions), exact=True)


def test_is_a_gymnasium_vector_environment_under_a_wrapper(env_id: str) -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(
        native(env_id, 3, max_episode_steps=2, autoreset_mode=AutoresetMode.SAME_STEP)
    )
    assert isinstance(envs, VectorEnv)
    envs.reset(seed=0)
    rewards = [envs.step(actions_for(envs.single_action_space, np.random.default_rng(i), 3))
               for i in range(2)]  # fmt: skip
    *_, infos = rewards[1]
    total = rewards[0][1] + rewards[1][1]
    np.testing.assert_allclose(infos["episode"]["r"], total)
    assert infos["episode"]["l"].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs must be a positive integer"),
        ({"num_envs": -1}, ValueError, "num_envs must be a positive integer"),
        ({"num_envs": 2.5}, ValueError, "num_envs must be a positive integer"),
        ({"num_envs": True}, ValueError, "num_envs must be a positive integer"),
        ({"agents": range(2)}, ValueError, r"3 of them, one a lane, got shape \(2,\)"),
        ({"agents": [[0, 1, 2]]}, ValueError, r"one a lane, got shape \(1, 3\)"),
        ({"agents": [0, 1, 500]}, ValueError, "agent 500 does not exist"),
        ({"agents": -1}, ValueError, "agent -1 does not exist"),
        ({"agents": 1.0}, TypeError, "agent must be an integer"),
        ({"agents": [0.0, 1.0, 2.0]}, TypeError, "agents must be integers"),
        ({"agents": ["a", "b", "c"]}, TypeError, "agents must be integers"),
        ({"agents": [True, True, True]}, TypeError, "agents must be integers"),
        ({"agents": "all"}, TypeError, "agent must be an integer"),
        ({"population": 2, "agents": 2}, ValueError, "2 agents, 0 to 1"),
        ({"autoreset_mode": "never"}, ValueError, "must be one of next_step, same_step, disabled"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None or one of rgb_array"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps must be a positive integer"),
        ({"max_episode_steps": -2}, ValueError, "max_episode_steps must be a positive integer"),
        ({"max_episode_steps": 1.5}, ValueError, "max_episode_steps must be a positive integer"),
        ({"agent": 3, "agents": [0, 3]}, ValueError, "are not the same: give one"),
        ({"covariates": {"wind": 1.0}}, ValueError, "unknown covariate 'wind'"),
    ],
    ids=str,
)
def test_invalid_arguments_are_refused(
    env_id: str, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gym.make_vec(env_id, **{"num_envs": 3, **kwargs})


def bad_actions(envs: SimVectorEnv) -> list[tuple[Any, type[Exception]]]:
    if envs.single_action_space.shape == ():
        return [
            (np.array([0, 1]), ValueError),
            (np.array([[0, 1, 1]]), ValueError),
            (0, ValueError),
            (np.array([0, 1, 3]), ValueError),
            (np.array([0, -1, 1]), ValueError),
            (np.array([0, 1, 2**63], dtype=np.uint64), ValueError),
            (np.array([0.0, 1.0, 1.0]), TypeError),
            (np.array([0.0, np.nan, 1.0]), TypeError),
            (np.array([True, False, True]), TypeError),
            (None, ValueError),
        ]
    broken = np.zeros((3, 6))
    broken[1, 2] = np.nan
    return [
        (np.zeros(6), ValueError),
        (np.zeros((2, 6)), ValueError),
        (np.zeros((3, 5)), ValueError),
        (broken, ValueError),
        (np.full((3, 6), np.inf), ValueError),
        (None, ValueError),
    ]


def test_invalid_actions_are_refused(env_id: str) -> None:
    envs, other = native(env_id, 3), native(env_id, 3)
    good = actions_for(envs.single_action_space, np.random.default_rng(0), 3)
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(good)
    envs.reset(seed=0)
    other.reset(seed=0)
    for actions, error in bad_actions(envs):
        with pytest.raises(error, match="actions must"):
            envs.step(actions)
    assert data_equivalence(envs.step(good), other.step(good), exact=True)


def test_actions_of_other_types_are_taken(env_id: str) -> None:
    envs, other = native(env_id, 3), native(env_id, 3)
    envs.reset(seed=0)
    other.reset(seed=0)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 3)
    for kind in (np.uint8, list) if actions.dtype.kind == "i" else (np.float64, list):
        converted = actions.tolist() if kind is list else actions.astype(kind)
        assert data_equivalence(envs.step(converted), other.step(actions), exact=True)


def test_continuous_actions_are_clipped() -> None:
    envs, other = (native("PerSim-HalfCheetah-v0", 2) for _ in range(2))
    envs.reset(seed=0)
    other.reset(seed=0)
    wild = np.linspace(-3, 3, 12).reshape(2, 6)
    ours, theirs = envs.step(wild), other.step(np.clip(wild, -1, 1))
    assert data_equivalence(ours, theirs, exact=True)


def test_no_frames_without_a_mode(env_id: str) -> None:
    envs = native(env_id, 2)
    envs.reset(seed=0)
    assert envs.render() is None
