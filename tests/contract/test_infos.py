"""`info` has the same keys, of the same types, at a reset and in every step; bad resets alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

import persim_gym
from persim_gym.envs.guard import Reason
from tests.contract.worlds import TRUE_IDS, actions_for, assert_same_infos
from tests.learned.lines import constant_simulator

# Simulators whose guard stops an episode in its third step, in each way that there is.
SIMULATORS = {
    "support": lambda: constant_simulator(4.0, 4.0, low=0.0, high=6.0),
    "disagreement": lambda: constant_simulator(1.0, 3.0, disagreement_limit=0.9),
    "non-finite": lambda: constant_simulator(1.0, math.nan),
}
AGENT = {"agent": np.int64}
COUNTS = {"clipped": np.int64, "outside": np.int64, "outside_own": np.int64}
LEARNED = {**AGENT, **COUNTS, "disagreement": np.float64, "guard": Reason}
PRICED = {**LEARNED, "reward_raw": np.float64, "penalty": np.float64}

WORLDS: dict[str, tuple[dict[str, Any], Callable[[str], Any]]] = {}


def world(name: str, keys: dict[str, Any]) -> Callable[[Any], Any]:
    def add(make: Callable[[str], Any]) -> Callable[[str], Any]:
        WORLDS[name] = keys, make
        return make

    return add


for env_id in TRUE_IDS:

    @world(env_id, {**AGENT, "guard": Reason} if "Cheetah" in env_id else AGENT)
    def _true(shell: str, env_id: str = env_id) -> Any:
        # Agent 1 of the cheetahs breaks its physics.
        people: dict[str, Any] = {"size": 2}
        if "Cheetah" in env_id:
            people = {"covariates": {"mass": [1.0, 1e8]}}
        if shell == "scalar":
            return gym.make(env_id, agent=1, population=people, max_episode_steps=5).unwrapped
        if shell == "parallel":
            return persim_gym.parallel_env(env_id, [0, 1], population=people, max_episode_steps=5)
        return gym.make_vec(
            env_id, num_envs=2, population=people, max_episode_steps=5, autoreset_mode=shell
        )


for reason, make_simulator in SIMULATORS.items():
    for penalty in (0.0, 0.5):

        @world(f"{reason} {penalty:g}", PRICED if penalty else LEARNED)
        def _learned(shell: str, make: Any = make_simulator, penalty: float = penalty) -> Any:
            options = {"max_episode_steps": 5, "penalty": penalty}
            if shell == "scalar":
                return make().env(1, **options)
            if shell == "parallel":
                return make().parallel_env([0, 1], **options)
            return make().vector_env(2, autoreset_mode=shell, **options)


@pytest.fixture(params=WORLDS)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Callable[[str], Any]]:
    return WORLDS[request.param]


def assert_typed(info: dict[str, Any], keys: dict[str, Any]) -> None:
    assert {key: type(value) for key, value in info.items()} == keys


def test_of_a_scalar_environment(case: Any) -> None:
    keys, make = case
    env = make("scalar")
    for _ in range(2):
        _, info = env.reset(seed=0)
        assert_typed(info, keys)
        assert not any(info[key] for key in set(keys) - {"agent"})
        for step in range(5):
            *_, terminated, truncated, info = env.step(
                actions_for(env.action_space, np.random.default_rng(step))
            )
            assert_typed(info, keys)
            if terminated or truncated:
                break


def test_of_parallel_agents(case: Any) -> None:
    keys, make = case
    env = make("parallel")
    _, infos = env.reset(seed=0)
    for step in range(5):
        for name, info in infos.items():
            assert_typed(info, keys)
            assert f"agent_{info['agent']}" == name
        if not env.agents:
            break
        rng = np.random.default_rng(step)
        *_, infos = env.step(
            {name: actions_for(env.action_space(name), rng) for name in env.agents}
        )


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=str)
def test_of_lanes(case: Any, mode: AutoresetMode) -> None:
    keys, make = case
    envs = make(mode)
    _, infos = envs.reset(seed=0)
    names = {*keys, *(f"_{key}" for key in keys)}
    ends = 0
    for step in range(12):
        assert set(infos) - {"final_obs", "_final_obs", "final_info", "_final_info"} == names
        finals = [infos["final_info"]] if "final_info" in infos else []
        for of in (infos, *finals):
            assert set(of) >= names
            for key, kind in keys.items():
                assert of[key].shape == (2,)
                assert type(of[key][0]) is kind
                assert of[f"_{key}"].dtype == np.bool_
        assert all(infos[f"_{key}"].all() for key in keys)
        actions = actions_for(envs.single_action_space, np.random.default_rng(step), 2)
        _, _, terminated, truncated, infos = envs.step(actions)
        done = terminated | truncated
        ends += done.sum()
        if done.any() and mode is AutoresetMode.SAME_STEP:
            assert (infos["_final_info"] == done).all()
            assert (infos["final_info"]["_agent"] == done).all()
        if done.any() and mode is AutoresetMode.DISABLED:
            _, infos = envs.reset()
    assert ends > 1


# -- one logic, three shells -----------------------------------------------------------------------


@given(
    env_id=st.sampled_from(TRUE_IDS[:2]),
    agents=st.lists(st.integers(0, 499), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**40),
    limit=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_lanes_and_parallel_agents_are_scalar_environments(
    env_id: str, agents: list[int], seed: int, limit: int
) -> None:
    n = len(agents)
    scalars = [gym.make(env_id, agent=k, max_episode_steps=limit) for k in agents]
    envs = gym.make_vec(
        env_id, num_envs=n, agents=agents, max_episode_steps=limit, autoreset_mode="disabled"
    )
    penv = persim_gym.parallel_env(env_id, agents, max_episode_steps=limit)
    obs, infos = envs.reset(seed=seed)
    seen, said = penv.reset(seed=seed)
    for lane, (name, scalar) in enumerate(zip(penv.possible_agents, scalars, strict=True)):
        expected, info = scalar.reset(seed=seed + lane)
        np.testing.assert_array_equal(obs[lane], expected)
        np.testing.assert_array_equal(seen[name], expected)
        assert info == said[name] == {"agent": infos["agent"][lane]}
    rng = np.random.default_rng(seed)
    while len(penv.agents) == n:
        actions = rng.integers(scalars[0].action_space.n, size=n)
        results = envs.step(actions)
        beside = penv.step(dict(zip(penv.possible_agents, actions, strict=True)))
        for lane, (name, scalar) in enumerate(zip(penv.possible_agents, scalars, strict=True)):
            own = scalar.step(actions[lane])
            for whole, part, one in zip(results[:4], beside[:4], own[:4], strict=True):
                np.testing.assert_array_equal(whole[lane], one)
                np.testing.assert_array_equal(part[name], one)
            assert_same_infos(
                {key: np.array([value]) for key, value in beside[4][name].items()}
                | {f"_{key}": np.array([True]) for key in own[4]},
                {key: np.array([value]) for key, value in own[4].items()}
                | {f"_{key}": np.array([True]) for key in own[4]},
            )
            np.testing.assert_array_equal(scalar.unwrapped.state, envs.state[lane])


# -- resets that cannot be -------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["scalar", "same_step", "parallel"])
@pytest.mark.parametrize(
    ("given_", "error", "message"),
    [
        ({"seed": -1}, ValueError, "a seed must not be negative, got -1"),
        ({"seed": 1.5}, TypeError, r"a seed must be an integer or None, got 1\.5"),
        ({"seed": True}, TypeError, "a seed must be an integer or None, got True"),
        ({"seed": "7"}, TypeError, "a seed must be an integer or None, got '7'"),
        ({"options": [1]}, TypeError, r"reset options must be a dictionary .*, got \[1\]"),
        ({"options": "agent"}, TypeError, "reset options must be a dictionary"),
        ({"options": {"stat": 1}}, ValueError, "unknown reset option 'stat'.*: there (is|are)"),
        ({"options": {3: 1}}, ValueError, "unknown reset option 3"),
        ({"options": {"state": np.zeros(9)}}, ValueError, r"a state must have shape"),
        ({"options": {"state": np.inf}}, ValueError, "a state must"),
        ({"options": {"state": None, "colour": None}}, ValueError, "unknown reset option 'colour'"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", [*TRUE_IDS, "support 0"])
def test_bad_resets_are_refused_alike(
    name: str, shell: str, given_: dict[str, Any], error: type[Exception], message: str
) -> None:
    env, other = WORLDS[name][1](shell), WORLDS[name][1](shell)
    for each in (env, other):
        each.reset(seed=0)
    with pytest.raises(error, match=message):
        env.reset(**given_)
    assert str(env.reset()) == str(other.reset()), "what is refused has changed nothing"


@pytest.mark.parametrize("shell", ["scalar", "same_step", "parallel"])
def test_options_of_others_are_left_alone(shell: str) -> None:
    env = WORLDS[TRUE_IDS[1]][1](shell)
    for options in ({"minari_autoseed": False}, {"options": 1}, {"state": None}, {}, None):
        env.reset(seed=np.int64(3), options=options)


@pytest.mark.parametrize("shell", ["scalar", "same_step"])
@pytest.mark.parametrize(
    ("agent", "error"),
    [(True, TypeError), (1.5, TypeError), (99, ValueError), (-1, ValueError), ({}, TypeError)],
    ids=str,
)
def test_bad_agents_are_refused_alike(shell: str, agent: Any, error: type[Exception]) -> None:
    env = WORLDS[TRUE_IDS[1]][1](shell)
    with pytest.raises(error, match="agent"):
        env.reset(options={"agent": agent})


# -- what an environment tells of itself -----------------------------------------------------------


@pytest.mark.parametrize("env_id", TRUE_IDS)
def test_state_and_covariates(env_id: str) -> None:
    env = gym.make(env_id, agent=2)
    envs = gym.make_vec(env_id, num_envs=3, agents=[2, 0, 1])
    inner = env.unwrapped
    for each in (inner, envs):
        with pytest.raises(gym.error.ResetNeeded, match="there is no state yet"):
            _ = each.state
    env.reset(seed=4)
    envs.reset(seed=4)
    actions = actions_for(envs.single_action_space, np.random.default_rng(0), 3)
    for _ in range(3):
        obs, *_ = env.step(actions[0])
        envs.step(actions)
        assert inner.state.dtype == envs.state.dtype == np.float64
        np.testing.assert_array_equal(inner.state.astype(np.float32), obs)
        np.testing.assert_array_equal(inner.state, envs.state[0])
        assert (inner.state != obs).any(), "more digits than are observed"
    inner.state[:] = 0
    envs.state[:] = 0
    assert inner.state.any()
    assert envs.state.any(), "what is given out is a copy"
    population = inner.dynamics.population
    assert inner.covariates == population.covariates(2)
    assert envs.get_attr("covariates") == tuple(population.covariates(k) for k in (2, 0, 1))
    assert envs.get_attr("agent") == (2, 0, 1)
    env.reset(options={"agent": 1})
    assert inner.covariates == population.covariates(1)
    for each in (inner, envs):
        assert hasattr(each, "model") == hasattr(each, "dt") == ("Cheetah" in env_id)


def test_the_cheetahs_model() -> None:
    env = gym.make("PerSim-HalfCheetah-v0", agent=1).unwrapped
    envs = gym.make_vec("PerSim-HalfCheetah-v0", num_envs=2)
    base = gym.make("HalfCheetah-v5").unwrapped
    assert env.dt == envs.dt == base.dt
    np.testing.assert_allclose(env.model.body_mass, base.model.body_mass * 1.7)
    np.testing.assert_allclose(envs.get_attr("model")[1].dof_damping, env.model.dof_damping)


def test_a_learned_environment_knows_no_covariates() -> None:
    env = SIMULATORS["support"]().env()
    with pytest.raises(AttributeError, match="has no population"):
        _ = env.covariates


@pytest.mark.parametrize("env_id", TRUE_IDS[:2])
def test_a_list_of_frames(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array_list", max_episode_steps=4)
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)
    frames = env.render()
    assert len(frames) == 4
    assert {frame.shape for frame in frames} == {(400, 600, 3)}
    assert env.render() == []
    env.close()


def test_entry_points_name_their_render_modes() -> None:
    from gymnasium.envs.registration import load_env_creator

    for env_id in (*TRUE_IDS, persim_gym.LEARNED_ID):
        creator = load_env_creator(str(gym.spec(env_id).entry_point))
        assert creator.metadata["render_modes"] == ["human", "rgb_array"]
