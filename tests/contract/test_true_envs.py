"""The scalar true environments: checkers, determinism, copies, specs, options, errors, drawing."""

from __future__ import annotations

import copy
import json
import pickle
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.env_checker
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import persim_gym.envs.painter
from persim_gym.envs import SUITES, SimEnv, Suite, find_suite, make_env
from tests.contract.worlds import (
    AGENTS,
    CARTPOLE,
    HALF_CHEETAH,
    LIMITS,
    MOUNTAIN_CAR,
    actions_for,
    make,
    quiet_info,
    same,
    trace,
)


@pytest.fixture
def suite(env_id: str) -> Suite:
    return find_suite(env_id)


@pytest.mark.slow
def test_gymnasium_check(env_id: str, request: pytest.FixtureRequest) -> None:
    if env_id == HALF_CHEETAH:
        request.getfixturevalue("opengl")
    check_env(make(env_id, agent=3))


def test_stable_baselines3_check(env_id: str) -> None:
    stable_baselines3.common.env_checker.check_env(
        gym.make(env_id, agent=3), skip_render_check=True
    )


def test_a_seed_decides_everything(env_id: str) -> None:
    env, other = (gym.make(env_id, agent=3, max_episode_steps=LIMITS[env_id]) for _ in range(2))
    steps = 2 * LIMITS[env_id]
    first = trace(env, steps, seed=5)
    assert same(first, trace(other, steps, seed=5))
    assert same(first, trace(env, steps, seed=5)), "an earlier episode left a trace"
    assert not same(first[0][0], trace(env, 0, seed=6)[0][0])


def test_an_agent_decides_the_dynamics(env_id: str) -> None:
    first, second, _ = AGENTS[env_id]
    steps = LIMITS[env_id] - 1
    ours = trace(gym.make(env_id, agent=first), steps, seed=5)
    other = trace(gym.make(env_id, agent=second), steps, seed=5)
    assert same(ours[0][0], other[0][0])
    assert not same(ours[1][0], other[1][0])


def test_global_random_state_is_left_alone(env_id: str) -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    trace(gym.make(env_id, agent=3), 5, seed=0)
    gym.make(env_id).reset()
    assert same(before, states())


@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(env_id: str, how: Any) -> None:
    env = gym.make(env_id, agent=3, render_mode="rgb_array", max_episode_steps=LIMITS[env_id])
    env.reset(seed=1)
    env.step(actions_for(env.action_space, np.random.default_rng(0)))
    if env_id != HALF_CHEETAH:
        env.render()  # what a drawing holds is not copied
    twin = how(env)
    rng, steps = np.random.default_rng(2), 4
    actions = [actions_for(env.action_space, rng) for _ in range(steps)]
    ours = [env.step(action) for action in actions[: LIMITS[env_id] - 1]]
    theirs = [twin.step(action) for action in actions[: LIMITS[env_id] - 1]]
    assert same(ours, theirs)
    assert same(env.reset(), twin.reset()), "the random generator was copied in its state"
    assert twin.unwrapped.agent == 3
    assert same(env.unwrapped.dynamics.population.values, twin.unwrapped.dynamics.population.values)


OWN = {
    "PerSim-MountainCar-v0": {"gravity": np.float64(0.002)},
    "PerSim-CartPole-v0": {"force": 3, "length": np.float32(0.25)},
    "PerSim-HalfCheetah-v0": {"mass": 0.5},
}


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"agent": np.int64(3)},
        {"agent": np.uint8(3), "population": 8},
        {"agent": 7, "population": {"size": np.int64(8), "seed": 4}},
        {"agent": 2, "population": "object"},
        {"agent": 2, "population": "ranges"},
        {"covariates": "own"},
        {"agent": 1, "max_episode_steps": 3, "render_mode": "rgb_array"},
    ],
    ids=str,
)
def test_a_spec_survives_json(suite: Suite, kwargs: dict[str, Any]) -> None:
    kwargs = dict(kwargs)
    column = suite.covariates.columns[0]
    middle = (column.low + column.high) / 2
    if kwargs.get("population") == "object":
        kwargs["population"] = suite.population({"size": 6, "seed": 3})
    if kwargs.get("population") == "ranges":
        kwargs["population"] = {
            "size": 6,
            "ranges": {column.name: (column.low, np.float64(middle))},
        }
    if kwargs.get("covariates"):
        kwargs["covariates"] = OWN[suite.env_id]
    env = gym.make(suite.env_id, **kwargs)
    text = env.spec.to_json()
    json.loads(text)
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec == EnvSpec.from_json(text)
    assert same(trace(env, 5, seed=2), trace(again, 5, seed=2))
    assert gym.spec(suite.env_id).kwargs == {"task": suite.name}, "the registry is left alone"


def test_an_agent_of_numpy_becomes_an_int(env_id: str) -> None:
    env = make(env_id, agent=np.int64(3))
    assert type(env.agent) is int
    assert type(env.spec.kwargs["agent"]) is int
    assert type(env.reset(options={"agent": np.int32(4)})[1]["agent"]) is np.int64
    assert env.agent == 4


def test_covariates_are_those_of_the_agent(suite: Suite) -> None:
    covariates = suite.population().covariates(7)
    ours = trace(gym.make(suite.env_id, covariates=covariates), 8, seed=0)
    theirs = trace(gym.make(suite.env_id, agent=7), 8, seed=0)
    # All but the infos, which name the agent: the only one of the first is agent 0.
    assert same([seen[:-1] for seen in ours], [seen[:-1] for seen in theirs])


def test_an_agent_stays_until_it_is_changed(env_id: str) -> None:
    first, second, _ = AGENTS[env_id]
    env, of_first, of_second = make(env_id), make(env_id, agent=first), make(env_id, agent=second)
    action = actions_for(env.action_space, np.random.default_rng(1))
    assert env.reset(seed=0)[1] == quiet_info(env_id, 0)
    assert env.reset(seed=0, options={"agent": second})[1] == quiet_info(env_id, second)
    of_second.reset(seed=0)
    expected = of_second.step(action)
    assert same(env.step(action), expected)
    assert env.reset(seed=0)[1] == quiet_info(env_id, second)
    assert env.reset(seed=0, options={})[1] == quiet_info(env_id, second)
    assert same(env.step(action), expected)
    assert env.reset(seed=0, options={"agent": first})[1] == quiet_info(env_id, first)
    of_first.reset(seed=0)
    back = of_first.step(action)
    assert same(env.step(action), back)
    assert not same(back, expected)


def test_a_state_is_where_the_episode_starts(suite: Suite) -> None:
    env = make(suite.env_id, agent=2)
    rng = np.random.default_rng(3)
    # 64 bits are kept: the first step is that of the dynamics from this very state and action.
    state = suite.task().sample_start(rng, 1)[0] + 1e-3 * rng.random()
    obs, _ = env.reset(options={"state": state})
    assert obs.dtype == np.float32
    np.testing.assert_array_equal(obs, state.astype(np.float32))
    action = actions_for(env.action_space, rng)
    if suite.env_id == HALF_CHEETAH:
        action = rng.uniform(-1, 1, 6)
    exact = suite.dynamics(suite.population()).step(np.array([2]), state[None], np.array([action]))[
        0
    ]
    following, reward, *_ = env.step(action)
    np.testing.assert_array_equal(following, exact.astype(np.float32))
    assert reward == float(suite.task().reward(state, action, exact))
    again, _ = env.reset()
    assert not same(again, obs), "a state is for one episode"


def test_a_state_may_be_a_list_and_draws_no_random_number(suite: Suite) -> None:
    env, other = make(suite.env_id), make(suite.env_id)
    state = [0.0] * suite.task().observation_space.shape[0]
    env.reset(seed=0, options={"state": state})
    other.reset(seed=0, options={"state": np.array(state, dtype=np.float32)})
    drawn = env.reset()
    assert same(drawn, other.reset())
    fresh = make(suite.env_id)
    assert same(drawn, fresh.reset(seed=0))


def test_a_given_state_is_copied(suite: Suite) -> None:
    env = make(suite.env_id)
    state = np.zeros(suite.task().observation_space.shape[0])
    action = actions_for(env.action_space, np.random.default_rng(1))
    env.reset(options={"state": state})
    expected = env.step(action)
    env.reset(options={"state": state})
    state += 0.01
    assert same(env.step(action), expected)


def test_every_observation_is_a_valid_state(env_id: str) -> None:
    env, other = make(env_id, agent=1), make(env_id)
    for seen in trace(env, LIMITS[env_id], seed=0):
        other.reset(options={"state": seen[0]})
    if env_id == MOUNTAIN_CAR:  # float32 bounds of a float64 state
        obs, _ = env.reset(options={"state": [-1.2, -0.07]})
        obs, *_ = env.step(0)
        assert obs in env.observation_space
        other.reset(options={"state": [0.6, 0.07]})


def bad_states(d: int) -> dict[str, Any]:
    broken = np.zeros(d)
    broken[-1] = np.nan
    infinite = np.zeros(d)
    infinite[0] = np.inf
    return {
        "nan": broken,
        "infinite": infinite,
        "short": np.zeros(d - 1),
        "batched": np.zeros((1, d)),
        "scalar": 0.0,
        "words": "start",
        "ragged": [[0.0], [0.0, 1.0]],
    }


@pytest.mark.parametrize("kind", bad_states(2))
def test_an_invalid_state_is_refused(env_id: str, kind: str) -> None:
    env = make(env_id)
    with pytest.raises(ValueError, match="a state must"):
        env.reset(options={"state": bad_states(env.observation_space.shape[0])[kind]})


@pytest.mark.parametrize(
    ("env_id", "state", "coordinate"),
    [
        (MOUNTAIN_CAR, [0.61, 0.0], 0),
        (MOUNTAIN_CAR, [0.0, -0.0701], 1),
        (CARTPOLE, [4.81, 0.0, 0.0, 0.0], 0),
        (CARTPOLE, [0.0, 1e6, -0.42, 0.0], 2),
    ],
)
def test_a_state_out_of_the_space_is_refused(
    env_id: str, state: list[float], coordinate: int
) -> None:
    with pytest.raises(ValueError, match=f"coordinate {coordinate} of the state is out"):
        make(env_id).reset(options={"state": state})


def test_an_unknown_option_is_refused(env_id: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"option 'agnet' .did you mean 'agent'.*: there are agent",
    ):
        make(env_id).reset(options={"agnet": 3})


@pytest.mark.parametrize(
    ("agent", "error", "message"),
    [
        (500, ValueError, "agent 500 does not exist.* 500 agents, 0 to 499"),
        (-1, ValueError, "agent -1 does not exist"),
        (True, TypeError, "agent must be an integer, got True"),
        (np.True_, TypeError, "agent must be an integer"),
        (1.0, TypeError, r"agent must be an integer, got 1\.0 of type float"),
        (np.float64(1), TypeError, "agent must be an integer"),
        ("3", TypeError, "agent must be an integer, got '3'"),
    ],
    ids=str,
)
def test_an_invalid_agent_is_refused(
    env_id: str, agent: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_env(env_id, agent=agent)
    with pytest.raises(error, match=message):
        gym.make(env_id, agent=agent)
    env = make(env_id, agent=2)
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.reset(seed=7, options={"agent": agent})
    # The refused reset has changed nothing: the episode goes on.
    other = make(env_id, agent=2)
    other.reset(seed=0)
    action = actions_for(env.action_space, np.random.default_rng(0))
    assert same(env.step(action), other.step(action))


def test_both_agent_and_covariates_are_refused(suite: Suite) -> None:
    covariates = suite.covariates.defaults
    with pytest.raises(ValueError, match="both say which agent: give one"):
        gym.make(suite.env_id, agent=0, covariates=covariates)
    with pytest.raises(ValueError, match=r"covariates .* or a population, not both"):
        gym.make(suite.env_id, covariates=covariates, population=5)


def test_covariates_out_of_range_are_refused(suite: Suite) -> None:
    for column in suite.covariates.columns:
        for end, outside in ((column.low, 0.999), (column.high, 1.001)):
            gym.make(suite.env_id, covariates={column.name: end})
            with pytest.raises(
                ValueError, match=f"covariate '{column.name}' is .* out of its range"
            ):
                gym.make(suite.env_id, covariates={column.name: end * outside})
        with pytest.raises(ValueError, match="out of its range"):
            gym.make(suite.env_id, covariates={column.name: float("nan")})
        with pytest.raises(TypeError, match=f"covariate '{column.name}' must be a number"):
            gym.make(suite.env_id, covariates={column.name: "heavy"})
    with pytest.raises(ValueError, match=r"unknown covariate 'wind': this task has"):
        gym.make(suite.env_id, covariates={"wind": 1.0})
    with pytest.raises(TypeError, match="covariates must be a mapping"):
        gym.make(suite.env_id, covariates=[1.0])


@pytest.mark.parametrize("population", ["all", 3.5, True, [1, 2]], ids=str)
def test_a_population_of_the_wrong_type_is_refused(env_id: str, population: Any) -> None:
    with pytest.raises(TypeError, match="population must be a size, a mapping"):
        gym.make(env_id, population=population)


def test_a_population_of_another_task_is_refused(suite: Suite) -> None:
    foreign = next(s for s in SUITES.values() if s is not suite).population(5)
    with pytest.raises(ValueError, match="this population's covariates are"):
        gym.make(suite.env_id, population=foreign)


def test_a_step_before_the_reset_is_refused(env_id: str) -> None:
    for env in (make(env_id), gym.make(env_id)):
        with pytest.raises(ResetNeeded):
            env.step(env.action_space.sample())


def test_types_of_what_a_step_returns(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert obs.dtype == np.float32
    assert info == quiet_info(env_id, 0)
    assert all(isinstance(value, np.generic) for value in info.values())


def test_the_time_limit_truncates(env_id: str) -> None:
    env = gym.make(env_id, agent=3, max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(actions_for(env.action_space, np.random.default_rng(0)))[2:4] for _ in "abc"]
    assert ends == [(False, False), (False, False), (False, True)]


def test_an_own_time_limit_is_that_of_the_wrapper(suite: Suite) -> None:
    limit = 5
    own = SimEnv(suite.task(), suite.dynamics(suite.population()), agent=3, max_episode_steps=limit)
    wrapped = gym.make(suite.env_id, agent=3, max_episode_steps=limit)
    ours = trace(own, 2 * limit, seed=0)
    assert same(ours, trace(wrapped, 2 * limit, seed=0))
    assert any(len(seen) == 5 and seen[3] for seen in ours)
    for wrong in (0, -5, 2.5, True):
        with pytest.raises(ValueError, match="max_episode_steps must be a positive integer"):
            SimEnv(suite.task(), suite.dynamics(suite.population()), max_episode_steps=wrong)


@pytest.mark.slow
def test_render_modes(env_id: str, request: pytest.FixtureRequest) -> None:
    if env_id == HALF_CHEETAH:
        request.getfixturevalue("opengl")
    env = gym.make(env_id, agent=3, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (400, 600, 3)
    assert before.dtype == np.uint8
    for _ in range(3):
        env.step(actions_for(env.action_space, np.random.default_rng(0)))
    assert (env.render() != before).any()
    env.close()
    assert env.render().shape == before.shape, "after close it draws again"
    env.close()
    assert env.metadata["render_fps"] == find_suite(env_id).task().render_fps


def test_drawing_without_a_mode_warns(env_id: str) -> None:
    env = make(env_id)
    env.reset()
    with pytest.warns(UserWarning, match="give render_mode='rgb_array' or 'human'"):
        assert env.render() is None
    env.close()


def test_drawing_before_the_reset_is_refused(env_id: str) -> None:
    with pytest.raises(ResetNeeded, match="nothing to draw yet"):
        make(env_id, render_mode="rgb_array").render()


def test_an_unknown_render_mode_is_refused(suite: Suite) -> None:
    with pytest.raises(ValueError, match="render_mode must be None or one of human, rgb_array"):
        make_env(suite.name, render_mode="ansi")


def test_what_is_drawn(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, Any]] = []

    class Spy:
        def draw(self, obs: Any, covariates: Any, **more: Any) -> Any:
            drawn.append({"obs": obs.copy(), "covariates": dict(covariates), **more})
            return np.zeros((4, 6, 3), np.uint8)

        def close(self) -> None:
            pass

    monkeypatch.setattr(persim_gym.envs.painter, "make_renderer", lambda name: Spy())
    env = make(suite.env_id, agent=3, render_mode="rgb_array")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    x = 0.0
    for _ in range(3):
        obs = env.step(actions_for(env.action_space, rng))[0]
        if suite.env_id == HALF_CHEETAH:  # its root's position is not observed, only integrated
            x += 0.05 * float(obs[0])
        env.render()
        np.testing.assert_array_equal(drawn[-1]["obs"].astype(np.float32), obs)
        assert drawn[-1]["covariates"] == suite.population().covariates(3)
        assert drawn[-1]["label"] == "agent 3"
        assert drawn[-1]["x"] == pytest.approx(x, abs=1e-6)
    assert (x != 0) == (suite.env_id == HALF_CHEETAH)
    env.reset(options={"agent": 4})
    env.render()
    assert (drawn[-1]["x"], drawn[-1]["label"]) == (0.0, "agent 4")


def test_nothing_is_written_beside_the_files(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    trace(gym.make(HALF_CHEETAH), 5, seed=0)
    assert list(tmp_path.iterdir()) == []
