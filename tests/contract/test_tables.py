"""Simulators of a user's own table as environments: the same contract as everywhere."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import stable_baselines3.common.env_checker
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test

import persim_gym
from persim_gym.learned import DataTask, PerSim
from persim_gym.learned.env import LearnedSimEnv
from tests.contract.worlds import LEARNED_ID, actions_for, trace

pytestmark = [
    # Whoever's doses are not symmetric around zero can do nothing about it.
    pytest.mark.filterwarnings("ignore:.*symmetric and normalized:UserWarning"),
]


def table(discrete: bool, ends: bool) -> pd.DataFrame:
    """Walks on a line with a velocity, stopped by a wall at 1.5 or after 25 steps."""
    rng = np.random.default_rng(0)
    rows = []
    for agent in range(6):
        place, speed = rng.uniform(-0.5, 0.5, 2)
        for step in range(25):
            push = rng.integers(3) - 1 if discrete else rng.uniform(-1, 1)
            name = ("left", "none", "right")[push + 1] if discrete else push
            over = ends and place > 1.5
            rows.append((f"walker {agent}", step, place, speed, name, -(place**2) + push, over))
            if over:
                break
            speed = 0.8 * speed + (0.2 + 0.05 * agent) * push + 0.02 * rng.normal() + 0.04
            place += 0.3 * speed
    return pd.DataFrame(rows, columns=["who", "t", "place", "speed", "push", "gain", "over"])


KINDS = list(itertools.product((False, True), (False, True)))


@pytest.fixture(
    scope="module",
    params=KINDS,
    ids=[f"{'discrete' if d else 'continuous'}-{'ending' if e else 'endless'}" for d, e in KINDS],
)
def sim(request: pytest.FixtureRequest) -> PerSim:
    discrete, ends = request.param
    columns = {"agent": "who", "time": "t", "state": ["place", "speed"], "action": "push",
               "reward": "gain", "terminated": "over", "name": "line"}  # fmt: skip
    sim = PerSim.fit(
        table(discrete, ends), columns=columns, epochs=20, ensemble_size=2, rank=2,
        state_hidden=(16,), batch_size=32, learning_rate=1e-2, progress=False,
    )  # fmt: skip
    assert isinstance(sim.task, DataTask)
    assert sim.task.card["termination"]["kind"] == ("limits" if ends else "never")
    return sim


@pytest.fixture(scope="module")
def folder(sim: PerSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim.save(tmp_path_factory.mktemp("tables") / "line")


def test_gymnasium_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    check_env(gym.make(LEARNED_ID, simulator=str(folder), agent="walker 3").unwrapped)


def test_stable_baselines3_check(sim: PerSim) -> None:
    stable_baselines3.common.env_checker.check_env(sim.env("walker 3"), skip_render_check=True)


def test_pettingzoo_api_and_seed(sim: PerSim, capsys: pytest.CaptureFixture[str]) -> None:
    agents = ["walker 4", "walker 0", "walker 2"]
    parallel_api_test(sim.parallel_env(agents), num_cycles=60)
    parallel_seed_test(lambda: sim.parallel_env(agents), num_cycles=10)
    assert "Passed" in capsys.readouterr().out


def test_episodes_end_as_the_data_say(sim: PerSim) -> None:
    env = sim.env("walker 5", guard=False)
    start = {"state": [1.3, 0.9]}
    env.reset(seed=0, options=start)
    action = 2 if sim.task.action_space == gym.spaces.Discrete(3) else env.action_space.high
    steps = [env.step(action)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(action))
    ends = sim.task.card["termination"]["kind"] == "limits"
    assert steps[-1][2] == ends
    assert len(steps) == sim.task.max_episode_steps or ends
    if ends:
        assert steps[-1][0][0] > 1.4
        assert all(step[0][0] < 1.6 for step in steps[:-1])


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=str)
def test_vector_equals_scalar(sim: PerSim, mode: AutoresetMode) -> None:
    agents = ["walker 5", "walker 0", "walker 5"]
    ours = sim.vector_env(3, agents, autoreset_mode=mode, max_episode_steps=6)
    theirs = SyncVectorEnv(
        [lambda agent=agent: sim.env(agent, max_episode_steps=6) for agent in agents],
        autoreset_mode=mode,
    )
    rng = np.random.default_rng(0)
    done = np.zeros(3, dtype=np.bool_)
    starts = [each.reset(seed=4)[0] for each in (ours, theirs)]
    np.testing.assert_array_equal(*starts)
    for _ in range(20):
        if mode is AutoresetMode.DISABLED and done.any():
            starts = [each.reset(options={"reset_mask": done})[0] for each in (ours, theirs)]
            np.testing.assert_allclose(*starts, rtol=1e-5, atol=1e-5)
        actions = actions_for(ours.single_action_space, rng, 3)
        results = [each.step(actions) for each in (ours, theirs)]
        for mine, other in zip(results[0][:4], results[1][:4], strict=True):
            assert mine.dtype == other.dtype
            # The matrix library may round a batch and a single row in different ways.
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
        assert set(results[0][4]) == set(results[1][4])
        done = results[0][2] | results[0][3]


def test_a_spec_survives_json(folder: Path) -> None:
    env = gym.make(LEARNED_ID, simulator=folder, agent="walker 2", guard=False)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec.kwargs["agent"] == "walker 2"
    assert type(again.unwrapped) is LearnedSimEnv
    assert again.unwrapped.agent == 2
    assert data_equivalence(trace(env, 8, seed=1), trace(again, 8, seed=1), exact=True)
    envs = gym.make_vec(LEARNED_ID, num_envs=2, simulator=folder, agents=["walker 2", "walker 4"])
    assert gym.make_vec(EnvSpec.from_json(envs.spec.to_json())).agents.tolist() == [2, 4]


def test_saved_and_loaded_it_is_the_same(sim: PerSim, folder: Path) -> None:
    again = PerSim.load(folder)
    for options in ({}, {"start": "data"}, {"penalty": 1.0}, {"propagation": "random_member"}):
        ours, theirs = (each.env("walker 1", guard=False, **options) for each in (sim, again))
        assert ours.observation_space == theirs.observation_space
        assert ours.action_space == theirs.action_space
        assert data_equivalence(trace(ours, 40, seed=3), trace(theirs, 40, seed=3), exact=True)
    penv = persim_gym.parallel_env(LEARNED_ID, agents=["walker 1", "walker 3"], simulator=folder)
    same = sim.parallel_env([1, 3])
    assert data_equivalence(penv.reset(seed=0), same.reset(seed=0), exact=True)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(sim: PerSim, how: Any) -> None:
    env = sim.env("walker 3", render_mode="rgb_array")
    env.reset(seed=0)
    action = actions_for(env.action_space, np.random.default_rng(0))
    env.step(action)
    twin = how(env)
    assert data_equivalence(env.step(action), twin.step(action), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)
    np.testing.assert_array_equal(env.render(), twin.render())


def test_a_picture_shows_the_state(sim: PerSim) -> None:
    env = sim.env("walker 3", render_mode="rgb_array")
    frames = []
    for place in (-0.5, 0.0, 0.0, 0.5):
        env.reset(seed=0, options={"state": [place, 0.0]})
        frames.append(env.render())
    assert frames[0].shape == (400, 600, 3)
    np.testing.assert_array_equal(frames[1], frames[2])

    # The marker of the first coordinate moves up, and it alone.
    def warm(frame: Any) -> Any:
        apart = np.abs(frame[:170, 140:510].astype(int) - (209, 96, 61)).sum(-1)
        return np.argwhere(apart < 40)

    heights = [warm(frame)[:, 0].mean() for frame in (frames[0], frames[1], frames[3])]
    assert heights[0] > heights[1] > heights[2]
    np.testing.assert_array_equal(frames[0][170:], frames[3][170:])
    # With every step there is more of a line, and of the actions.
    painted = [len(warm(frames[3]))]
    for _ in range(3):
        env.step(env.action_space.sample())
        painted.append(len(warm(env.render())))
    assert painted == sorted(set(painted))
    assert not np.array_equal(env.render()[285:, :510], frames[3][285:, :510])  # type: ignore[index]
    env.reset(seed=0, options={"state": [0.5, 0.0]})
    np.testing.assert_array_equal(env.render(), frames[3])
