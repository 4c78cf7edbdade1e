"""Learned environments: the same contract, and what a learned model adds to it."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.env_checker
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test

import persim_gym
from persim_gym.envs import SUITES, SimVectorEnv
from persim_gym.learned.env import LearnedSimEnv
from persim_gym.learned.simulator import PerSim
from tests.contract.worlds import LEARNED_ID, NUM_AGENTS, actions_for, recorded, trace
from tests.learned.lines import NONE


@pytest.fixture(scope="module", params=SUITES)
def sim(request: pytest.FixtureRequest) -> PerSim:
    """A barely fitted simulator: wrong, but whole."""
    steps = {"mountain-car": 30, "cartpole": 8, "half-cheetah": 12}[request.param]
    transitions = recorded(request.param, steps)
    return PerSim.fit(
        transitions, epochs=1, ensemble_size=2, rank=2, state_hidden=(16,), progress=False
    )


@pytest.fixture(scope="module")
def folder(sim: PerSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim.save(tmp_path_factory.mktemp("simulators") / sim.task.name)


@pytest.mark.slow
def test_gymnasium_check(folder: Path, sim: PerSim, request: pytest.FixtureRequest) -> None:
    if sim.task.name == "half-cheetah":
        request.getfixturevalue("opengl")
    check_env(gym.make(LEARNED_ID, simulator=str(folder), agent=3).unwrapped)


def test_stable_baselines3_check(sim: PerSim) -> None:
    stable_baselines3.common.env_checker.check_env(sim.env(agent=3), skip_render_check=True)


def test_pettingzoo_api_and_seed(sim: PerSim, capsys: pytest.CaptureFixture[str]) -> None:
    parallel_api_test(sim.parallel_env(agents=range(3), max_episode_steps=9), num_cycles=12)
    parallel_seed_test(lambda: sim.parallel_env(agents=range(3)), num_cycles=10)
    assert "Passed" in capsys.readouterr().out


@pytest.mark.parametrize("propagation", ["mean", "random_member", "fixed_member"])
def test_a_seed_decides_everything(sim: PerSim, propagation: str) -> None:
    first, second = (
        sim.env(agent=3, propagation=propagation, start="data", guard=False) for _ in range(2)
    )
    ours = trace(first, 12, seed=5)
    assert data_equivalence(ours, trace(second, 12, seed=5), exact=True)
    assert data_equivalence(ours, trace(first, 12, seed=5), exact=True)
    lanes = [
        sim.vector_env(3, propagation=propagation, guard=False, max_episode_steps=4)
        for _ in range(2)
    ]
    actions = actions_for(lanes[0].single_action_space, np.random.default_rng(0), 3)
    for envs in lanes:
        envs.reset(seed=8)
    for _ in range(10):
        assert data_equivalence(*(envs.step(actions) for envs in lanes), exact=True)


def test_an_agent_has_a_simulator_of_its_own(sim: PerSim) -> None:
    env = sim.env(agent=1)
    action = actions_for(env.action_space, np.random.default_rng(0))
    quiet = {"disagreement": 0.0, "clipped": 0, "guard": "", **NONE}
    assert env.reset(seed=0)[1] == {"agent": 1, **quiet}
    first = env.step(action)[0]
    assert env.reset(seed=0, options={"agent": 2})[1] == {"agent": 2, **quiet}
    second = env.step(action)[0]
    assert (first != second).any()
    assert env.reset(seed=0)[1] == {"agent": 2, **quiet}
    np.testing.assert_array_equal(env.step(action)[0], second)
    obs, _ = env.reset(seed=0)
    predicted = sim.predict([2], obs[None], np.array([action]))[0]
    np.testing.assert_allclose(second, predicted, rtol=1e-5, atol=1e-6)


def close(left: Any, right: Any) -> None:
    # The matrix library may round a batch and a single row in different ways.
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=str)
def test_vector_equals_scalar(sim: PerSim, mode: AutoresetMode) -> None:
    agents, limit = [3, 0, 3], 5
    options = {"max_episode_steps": limit, "penalty": 0.5, "start": "data"}
    ours = sim.vector_env(3, agents, autoreset_mode=mode, **options)
    theirs = SyncVectorEnv(
        [lambda agent=agent: sim.env(agent, **options) for agent in agents], autoreset_mode=mode
    )
    rng = np.random.default_rng(0)
    close(ours.reset(seed=4)[0], theirs.reset(seed=4)[0])
    done, ends = np.zeros(3, dtype=np.bool_), 0
    for _ in range(4 * limit):
        if mode is AutoresetMode.DISABLED and done.any():
            mask = {"reset_mask": done}
            close(ours.reset(options=dict(mask))[0], theirs.reset(options=dict(mask))[0])
        actions = actions_for(ours.single_action_space, rng, 3)
        *arrays, infos = ours.step(actions)
        *expected, expected_infos = theirs.step(actions)
        for mine, other in zip(arrays, expected, strict=True):
            assert mine.dtype == other.dtype
            close(mine, other)
        compare_infos(infos, expected_infos)
        done = arrays[2] | arrays[3]
        ends += done.sum()
    assert ends >= 6


def compare_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert set(ours) == set(theirs)
    for key, values in theirs.items():
        if key.startswith("_"):
            np.testing.assert_array_equal(ours[key], values, err_msg=key)
        elif isinstance(values, dict):
            compare_infos(ours[key], values)
        else:
            mask = theirs[f"_{key}"]
            for mine, other in zip(ours[key][mask], values[mask], strict=True):
                if isinstance(other, str):
                    assert mine == other
                else:
                    close(mine, other)


def test_parallel_equals_scalar(sim: PerSim) -> None:
    env = sim.parallel_env(agents=[3, 0], max_episode_steps=6, penalty=0.5)
    scalars = {f"agent_{k}": sim.env(k, max_episode_steps=6, penalty=0.5) for k in (3, 0)}
    rng = np.random.default_rng(0)
    for episode in range(2):
        obs, _ = env.reset(seed=3 if episode == 0 else None)
        for lane, (name, scalar) in enumerate(scalars.items()):
            np.testing.assert_array_equal(
                obs[name], scalar.reset(seed=3 + lane if episode == 0 else None)[0]
            )
        assert env.agents
        while env.agents:
            running = list(env.agents)
            actions = {name: actions_for(env.action_space(name), rng) for name in running}
            results = env.step(actions)
            for name in running:
                obs, reward, terminated, truncated, info = scalars[name].step(actions[name])
                close(results[0][name], obs)
                close(results[1][name], reward)
                assert (results[2][name], results[3][name]) == (terminated, truncated)
                ours = results[4][name]
                assert set(ours) == set(info)
                assert ours["guard"] == info["guard"]
                close(ours["disagreement"], info["disagreement"])
                assert type(ours["disagreement"]) is type(info["disagreement"]) is np.float64


@pytest.mark.parametrize("kind", [str, Path, lambda path: path / "simulator.safetensors"])
def test_a_spec_survives_json(folder: Path, kind: Any) -> None:
    options = {"propagation": "fixed_member", "guard": False, "penalty": np.float64(0.1)}
    env = gym.make(LEARNED_ID, simulator=kind(folder), agent=np.int64(2), **options)
    text = env.spec.to_json()
    json.loads(text)
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec == EnvSpec.from_json(text)
    assert type(again.unwrapped) is LearnedSimEnv
    assert data_equivalence(trace(env, 6, seed=1), trace(again, 6, seed=1), exact=True)


def test_make_vec_and_its_spec(folder: Path, sim: PerSim) -> None:
    envs = gym.make_vec(LEARNED_ID, num_envs=4, simulator=folder, agents=3, start="data")
    assert isinstance(envs, SimVectorEnv)
    assert envs.agents.tolist() == [3, 3, 3, 3]
    again = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    own = sim.vector_env(4, 3, start="data")
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 4)
    starts = [each.reset(seed=1)[0] for each in (envs, again, own)]
    np.testing.assert_array_equal(starts[0], starts[1])
    np.testing.assert_array_equal(starts[0], starts[2])
    first = envs.step(actions)
    assert data_equivalence(first, again.step(actions), exact=True)
    for mine, other in zip(first[:4], own.step(actions)[:4], strict=True):
        close(mine, other)
    default = gym.make_vec(LEARNED_ID, num_envs=6, simulator=folder)
    assert default.agents.tolist() == [0, 1, 2, 3, 0, 1]


def test_parallel_env_from_a_folder(folder: Path, sim: PerSim) -> None:
    ours = persim_gym.parallel_env(LEARNED_ID, agents=range(3), simulator=folder)
    theirs = sim.parallel_env(agents=range(3))
    assert data_equivalence(ours.reset(seed=0), theirs.reset(seed=0), exact=True)
    rng = np.random.default_rng(0)
    actions = {name: actions_for(ours.action_space(name), rng) for name in ours.agents}
    for mine, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
        assert list(mine) == list(other)
        close(list(mine.values()), list(other.values()))


@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("start", ["task", "data"])
def test_a_copy_goes_on_by_itself(sim: PerSim, how: Any, start: str) -> None:
    env = sim.env(agent=3, propagation="random_member", start=start, render_mode="rgb_array")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    action = actions_for(env.action_space, rng)
    env.step(action)
    twin = how(env)
    assert data_equivalence(env.step(action), twin.step(action), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)


def test_global_random_state_is_left_alone(sim: PerSim) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    trace(sim.env(agent=1, propagation="random_member", start="data"), 4, seed=0)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_returned_arrays_are_the_callers(sim: PerSim) -> None:
    envs = sim.vector_env(3, max_episode_steps=2, penalty=0.1)
    rng = np.random.default_rng(0)
    kept: list[Any] = [envs.reset(seed=0)]
    copies = copy.deepcopy(kept)
    for _ in range(6):
        kept.append(envs.step(actions_for(envs.single_action_space, rng, 3)))
        copies.append(copy.deepcopy(kept[-1]))
    assert data_equivalence(kept, copies, exact=True)


def test_refusals_are_those_of_every_environment(sim: PerSim) -> None:
    env = sim.env(agent=3)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(env.action_space.sample())
    with pytest.raises(ResetNeeded, match="call reset"):
        sim.vector_env(2).step(np.zeros(2, dtype=int))
    env.reset(seed=0)
    for agent, error in ((4, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="agent"):
            sim.env(agent=agent)
        with pytest.raises(error, match="agent"):
            env.reset(options={"agent": agent})
        with pytest.raises(error, match="agent"):
            sim.vector_env(2, agent)
    with pytest.raises(ValueError, match="unknown reset option"):
        env.reset(options={"member": 1})
    with pytest.raises(ValueError, match="a state must"):
        env.reset(options={"state": [np.nan]})
    with pytest.raises((ValueError, TypeError)):
        env.step(np.full(7, np.nan))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"propagation": "median"}, ValueError, "propagation must be one of mean, random_member"),
        ({"penalty": -1.0}, ValueError, "penalty must be finite and not negative"),
        ({"penalty": math.nan}, ValueError, "penalty must be finite and not negative"),
        ({"penalty": math.inf}, ValueError, "penalty must be finite and not negative"),
        ({"start": "anywhere"}, ValueError, "start must be one of task, data"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps must be a positive integer"),
        ({"max_episode_steps": -2}, ValueError, "max_episode_steps must be a positive integer"),
        ({"covariates": {"wind": 1.0}}, ValueError, "unknown covariate 'wind'"),
        ({"render_mode": "ansi"}, ValueError, "render_mode must be None or one of"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(
    sim: PerSim, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sim.env(agent=0, **options)
    with pytest.raises(error, match=message):
        sim.vector_env(2, **options)
    with pytest.raises(error, match=message):
        sim.parallel_env([0, 1], **options)


def test_the_support_and_limit_are_those_of_the_data(sim: PerSim) -> None:
    space = sim.task.observation_space
    experience = sim.experience
    width = experience.high - experience.low
    state = sim.task.sample_start(np.random.default_rng(0), 1)[0]
    # A coordinate whose space has room beyond what a random policy sees of it.
    coordinate = {"mountain-car": 0, "cartpole": 1, "half-cheetah": 5}[sim.task.name]
    state[coordinate] = experience.high[coordinate] + 0.9 * width[coordinate]
    assert state[coordinate] < space.high[coordinate]
    env = sim.env(agent=0)
    env.reset(options={"state": state})
    *_, truncated, info = env.step(actions_for(env.action_space, np.random.default_rng(0)))
    assert (truncated, info["guard"]) == (True, "support")
    assert 0 < experience.disagreement_limit < math.inf


def test_recorded_starts_are_those_of_the_data(sim: PerSim) -> None:
    recorded_starts = sim.experience.starts
    assert len(recorded_starts) == NUM_AGENTS
    env = sim.env(start="data")
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        assert (recorded_starts == obs).all(axis=1).any()


def test_time_limits_of_made_environments(sim: PerSim, folder: Path) -> None:
    env = gym.make(LEARNED_ID, simulator=folder, max_episode_steps=2, guard=False)
    env.reset(seed=0)
    action = actions_for(env.action_space, np.random.default_rng(0))
    assert [env.step(action)[3] for _ in range(2)] == [False, True]
    envs = gym.make_vec(LEARNED_ID, num_envs=2, simulator=folder, max_episode_steps=2, guard=False)
    envs.reset(seed=0)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 2)
    assert [envs.step(actions)[3].tolist() for _ in range(2)] == [[False] * 2, [True] * 2]
    assert sim.env()._lanes.max_episode_steps == sim.task.max_episode_steps


def test_a_learned_environment_is_drawn(sim: PerSim, request: pytest.FixtureRequest) -> None:
    if sim.task.name == "half-cheetah":
        request.getfixturevalue("opengl")
    env = sim.env(agent=3, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="nothing to draw yet"):
        env.render()
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (400, 600, 3)
    env.step(actions_for(env.action_space, np.random.default_rng(0)))
    assert (env.render() != frame).any()
    env.close()


def test_covariates_are_for_the_drawing_alone(sim: PerSim, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[dict[str, float], str]] = []

    class Spy:
        def draw(self, obs: Any, covariates: Any, *, x: float, label: str) -> Any:
            drawn.append((dict(covariates), label))
            return np.zeros((4, 6, 3), np.uint8)

        def close(self) -> None:
            pass

    monkeypatch.setattr(persim_gym.envs.painter, "make_renderer", lambda name: Spy())
    defaults = SUITES[sim.task.name].covariates.defaults
    name, value = next(iter(defaults.items()))
    plain = sim.env(agent=3, render_mode="rgb_array")
    changed = sim.env(agent=3, render_mode="rgb_array", covariates={name: value / 2})
    assert data_equivalence(trace(plain, 4, seed=0), trace(changed, 4, seed=0), exact=True)
    plain.render()
    changed.render()
    lanes = sim.vector_env(2, [1, 2], render_mode="rgb_array")
    lanes.reset(seed=0)
    lanes.render()
    assert drawn == [
        (defaults, "learned agent 3"),
        ({**defaults, name: value / 2}, "learned agent 3"),
        (defaults, "learned agent 1"),
        (defaults, "learned agent 2"),
    ]
