"""Learned environments: the same contract, and what a learned model adds to it."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.env_checker
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from pettingzoo.test import parallel_api_test, parallel_seed_test

import persim_gym
from persim_gym.envs import SUITES, SimVectorEnv
from persim_gym.envs.guard import Reason
from persim_gym.learned.env import LearnedSimEnv, as_simulator
from persim_gym.learned.networks.ensemble import NetworkEnsemble, Scaling
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.learned.simulator import PerSim
from persim_gym.learned.support import Experience
from persim_gym.offline.transitions import Transitions
from tests.contract.worlds import LEARNED_ID, actions_for, trace

NUM_AGENTS = 4


def recorded(task_name: str, steps: int) -> Transitions:
    """One random trajectory of each agent in the true dynamics."""
    suite = SUITES[task_name]
    task, dynamics = suite.task(), suite.dynamics(suite.population(NUM_AGENTS))
    rng = np.random.default_rng(0)
    agents = np.arange(NUM_AGENTS)
    states = task.sample_start(rng, NUM_AGENTS)
    columns: list[tuple[Any, ...]] = []
    for step in range(steps):
        if isinstance(task.action_space, Discrete):
            actions = rng.integers(task.action_space.n, size=NUM_AGENTS)
        else:
            actions = rng.uniform(-1, 1, (NUM_AGENTS, *task.action_space.shape)).astype(np.float32)
        following = dynamics.step(agents, states, actions)
        last = np.full(NUM_AGENTS, step == steps - 1)
        reward = task.reward(states, actions, following)
        columns.append((agents, states, actions, following, reward, last & False, last, agents))
        states = following
    # Time is the first axis: bring each agent's rows together.
    agent, obs, action, following, reward, terminated, truncated, episode = (
        np.stack(column, axis=1).reshape(NUM_AGENTS * steps, *column[0].shape[1:])
        for column in zip(*columns, strict=True)
    )
    return Transitions(
        agent=agent,
        obs=obs.astype(np.float32),
        action=action,
        next_obs=following.astype(np.float32),
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        episode=episode,
        num_agents=NUM_AGENTS,
        task_name=task_name,
    )


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


# -- a world whose members add what they are told --------------------------------------------------


@dataclass(frozen=True)
class LineTask:
    """A point on a line from -100 to 100: reward is where it is; it ends below -50."""

    name: str = "line"
    observation_space: Box = field(default_factory=lambda: Box(-100, 100, (1,), dtype=np.float32))
    action_space: Discrete = field(default_factory=lambda: Discrete(2))
    max_episode_steps: int = 30
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        """The position."""
        return next_obs[..., 0]

    def terminated(self, next_obs: Any) -> Any:
        """Far to the left."""
        return next_obs[..., 0] < -50

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """At zero."""
        return np.zeros((n, 1))


#: What `info` holds of an action that is within the record.
NONE = {"outside": 0, "outside_own": 0}


def constant_simulator(
    *increments: float,
    low: float = -1000.0,
    high: float = 1000.0,
    change_scale: float = 1.0,
    disagreement_limit: float = math.inf,
    starts: tuple[float, ...] = (5.0, 7.0, 9.0),
    momentum: bool = False,
    bound: float = 100.0,
) -> PerSim:
    """Simulators whose member ``j`` adds ``increments[j]``, whatever state and action.

    With ``momentum`` a state is two observations, and the last change happens again on top.
    """
    shape = NetworkShape(
        members=len(increments),
        num_agents=3,
        obs_dim=1,
        lag=2 if momentum else 1,
        num_actions=2,
        action_dim=0,
        rank=1,
        state_hidden=(2,),
        action_hidden=(),
        activation="relu",
    )
    tensors = {name: torch.zeros(size) for name, (size, _) in shape.tensors().items()}
    for name in ("agent.bias", "action.bias"):
        tensors[name] += 1
    tensors["head.bias"][:, 0, 0] = torch.tensor(increments)
    if momentum:  # the change's positive part less its negative part
        tensors["state.0.weight"][:] = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
        tensors["head.weight"][:] = torch.tensor([[1.0, -1.0]])
    scaling = Scaling(
        input_mean=torch.zeros(shape.input_dim),
        input_scale=torch.ones(shape.input_dim),
        target_mean=torch.zeros(1),
        target_scale=torch.ones(1),
        low=torch.tensor([-bound]),
        high=torch.tensor([bound]),
    )
    experience = Experience(
        low=np.array([low], dtype=np.float32),
        high=np.array([high], dtype=np.float32),
        change_scale=np.array([change_scale], dtype=np.float32),
        starts=np.array(starts, dtype=np.float32)[:, None],
        disagreement_limit=disagreement_limit,
    )
    ensemble = NetworkEnsemble(LowRankNetwork(shape, tensors), scaling)
    return PerSim(ensemble, LineTask(), experience, {"task": "line"})


def positions(env: gym.Env[Any, Any], steps: int, **reset: Any) -> list[float]:
    seen = [env.reset(**reset)[0].item()]
    seen += [env.step(0)[0].item() for _ in range(steps)]
    return seen


# -- the common contract ---------------------------------------------------------------------------


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


def test_a_file_is_read_again_only_if_it_has_changed(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    PerSim.load(folder).save(copied)
    first = as_simulator(copied)
    assert as_simulator(str(copied)).ensemble is first.ensemble
    other = PerSim.load(folder)
    other.ensemble.network.tensors["head.bias"] += 1
    other.save(copied)
    again = as_simulator(copied)
    assert again.ensemble is not first.ensemble
    assert not torch.equal(
        again.ensemble.network.tensors["head.bias"], first.ensemble.network.tensors["head.bias"]
    )


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


def test_no_simulator_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no simulator at"):
        gym.make(LEARNED_ID, simulator=str(tmp_path / "nothing"))
    with pytest.raises(TypeError, match="simulator must be a PerSim or the folder of one, got 3"):
        gym.make(LEARNED_ID, simulator=3)


# -- members ---------------------------------------------------------------------------------------


def test_the_mean_of_the_members() -> None:
    env = constant_simulator(1.0, 2.0, 6.0).env(agent=2)
    assert positions(env, 5) == [0, 3, 6, 9, 12, 15]
    env.reset()
    _, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, truncated) == (3.0, False, False)
    spread = pytest.approx(np.std([1, 2, 6]), rel=1e-6)
    assert info == {"agent": 2, "disagreement": spread, "clipped": 0, "guard": "", **NONE}


def test_disagreement_is_in_units_of_the_recorded_changes() -> None:
    env = constant_simulator(1.0, 2.0, 6.0, change_scale=4.0).env()
    env.reset()
    assert env.step(0)[4]["disagreement"] == pytest.approx(np.std([1, 2, 6]) / 4, rel=1e-6)
    alone = constant_simulator(2.0).env()
    alone.reset()
    assert alone.step(0)[4]["disagreement"] == 0


def test_a_random_member_in_each_step() -> None:
    sim = constant_simulator(1.0, 2.0, 6.0)
    env = sim.env(propagation="random_member", max_episode_steps=10)
    changes = np.concatenate(
        [np.diff(positions(env, 10, seed=0 if i == 0 else None)) for i in range(12)]
    )
    values, counts = np.unique(changes, return_counts=True)
    assert values.tolist() == [1, 2, 6]
    assert (counts > 20).all()
    lanes = sim.vector_env(200, propagation="random_member")
    obs, _ = lanes.reset(seed=0)
    following = lanes.step(np.zeros(200, dtype=int))[0]
    values, counts = np.unique(following - obs, return_counts=True)
    assert values.tolist() == [1, 2, 6]
    assert (counts > 40).all()


def test_a_fixed_member_for_an_episode() -> None:
    sim = constant_simulator(1.0, 2.0, 6.0)
    env = sim.env(propagation="fixed_member", max_episode_steps=10)
    followed = []
    for episode in range(30):
        changes = np.diff(positions(env, 4, seed=0 if episode == 0 else None))
        assert len(set(changes)) == 1
        followed.append(changes[0])
    assert set(followed) == {1, 2, 6}


def test_a_fixed_member_in_lanes_is_drawn_anew_with_each_episode() -> None:
    lanes = constant_simulator(1.0, 2.0, 6.0).vector_env(
        60,
        propagation="fixed_member",
        max_episode_steps=3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    lanes.reset(seed=0)
    episodes = []
    for _ in range(4):
        rewards = np.stack([lanes.step(np.zeros(60, dtype=int))[1] for _ in range(3)])
        followed = rewards[0].round(5)
        np.testing.assert_allclose(rewards, followed * np.array([[1], [2], [3]]), rtol=1e-6)
        assert set(followed) == {1, 2, 6}
        episodes.append(rewards[0])
    assert (episodes[0] != episodes[1]).any()


def test_members_of_parallel_agents() -> None:
    env = constant_simulator(1.0, 2.0, 6.0).parallel_env([2, 0, 1], propagation="fixed_member")
    seen = set()
    for _ in range(12):
        env.reset(seed=None)
        steps = [env.step(dict.fromkeys(env.agents, 0))[1] for _ in range(2)]
        for name in env.agents:
            assert steps[1][name] == pytest.approx(2 * steps[0][name], rel=1e-6)
            seen.add(round(steps[0][name], 5))
    assert seen == {1, 2, 6}


def test_a_state_of_several_observations() -> None:
    sim = constant_simulator(1.0, momentum=True)
    assert sim.lag == 2
    # Nothing has moved before the beginning; then every change adds one to the last.
    triangle = [0, 1, 3, 6, 10]
    env = sim.env(max_episode_steps=4)
    assert positions(env, 4) == triangle
    assert positions(env, 4) == triangle, "the past ends with the episode"
    assert positions(env, 2, options={"state": [20.0]}) == [20, 21, 23]
    lanes = sim.vector_env(2, max_episode_steps=4, autoreset_mode=AutoresetMode.SAME_STEP)
    lanes.reset(seed=0)
    rewards = [lanes.step(np.zeros(2, dtype=int))[1].tolist() for _ in range(8)]
    assert rewards == [[x, x] for x in 2 * triangle[1:]]
    parallel = sim.parallel_env([0, 2], max_episode_steps=4)
    parallel.reset(options={"state": {"agent_2": [-49.5]}})
    counts = [parallel.step(dict.fromkeys(parallel.agents, 0))[1] for _ in range(3)]
    assert [c["agent_2"] for c in counts] == [-48.5, -46.5, -43.5]


# -- the guard -------------------------------------------------------------------------------------


def ending(env: gym.Env[Any, Any]) -> tuple[int, bool, bool, dict[str, Any], float]:
    """How the next episode ends: after how many steps, by what, and where."""
    env.reset()
    for step in range(1, 1000):
        obs, _, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            return step, terminated, truncated, info, obs.item()
    raise AssertionError("the episode does not end")


def test_the_guard_stops_off_the_support() -> None:
    # Recorded from 0 to 10, so the guard lets pass up to 15.
    sim = constant_simulator(2.0, 2.0, low=0.0, high=10.0)
    step, terminated, truncated, info, position = ending(sim.env())
    assert (step, terminated, truncated, position) == (8, False, True, 16.0)
    assert info["guard"] == "support"
    step, terminated, truncated, info, _ = ending(sim.env(guard=False))
    assert (step, terminated, truncated) == (30, False, True)
    assert info["guard"] == ""
    below = constant_simulator(-2.0, -2.0, low=0.0, high=10.0)
    assert ending(below.env())[0] == 3, "-6 is below -5"


def test_the_guard_stops_at_disagreement() -> None:
    # The deviation of 1 and 3 is 1.
    calm = constant_simulator(1.0, 3.0, disagreement_limit=1.01)
    assert ending(calm.env())[0] == 30
    torn = constant_simulator(1.0, 3.0, disagreement_limit=0.99)
    step, terminated, truncated, info, position = ending(torn.env())
    assert (step, terminated, truncated, position) == (1, False, True, 2.0)
    assert info["guard"] == "disagreement"
    assert info["disagreement"] == pytest.approx(1.0)
    step, _, _, info, _ = ending(torn.env(guard=False))
    assert (step, info["guard"]) == (30, "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("propagation", ["mean", "random_member", "fixed_member"])
def test_what_is_not_finite_always_stops(value: float, guard: bool, propagation: str) -> None:
    sim = constant_simulator(1.0, value)
    env = sim.env(guard=guard, propagation=propagation, penalty=2.0)
    for seed in range(6):
        env.reset(seed=seed, options={"state": [4.0]})
        obs, reward, terminated, truncated, info = env.step(0)
        assert (terminated, truncated, info["guard"]) == (False, True, "non-finite")
        assert obs in env.observation_space
        # No reward is made of what is not a number, and no price of it either.
        assert math.isfinite(reward)
        assert info["penalty"] == 0
        assert info["disagreement"] == math.inf
    if propagation == "mean":
        assert (obs.item(), reward) == (4.0, 4.0), "the last state that was one"


def test_an_overflowing_disagreement_stops_too() -> None:
    # Bounds that far out hold nothing back.
    env = constant_simulator(-3e38, 3e38, bound=math.inf).env(guard=False, penalty=1.0)
    env.reset()
    _, reward, _, truncated, info = env.step(0)
    assert (truncated, info["guard"]) == (True, "non-finite")
    assert math.isfinite(reward)


def test_the_guard_speaks_of_its_lane_alone() -> None:
    sim = constant_simulator(2.0, 2.0, low=0.0, high=10.0)
    states = np.array([[0.0], [12.0], [14.0]])
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        lanes = sim.vector_env(3, autoreset_mode=mode)
        lanes.reset(seed=0, options={"state": states})
        _, _, terminated, truncated, infos = lanes.step(np.zeros(3, dtype=int))
        assert (terminated.any(), truncated.tolist()) == (False, [False, False, True])
        assert infos["_guard"].all()
        assert infos["guard"].tolist() == [0, 0, Reason("support")]
        assert (infos["guard"] == "support").tolist() == [False, False, True]
        assert infos["guard"][2] == "support"
    lanes = sim.vector_env(3, autoreset_mode=AutoresetMode.SAME_STEP)
    lanes.reset(seed=0, options={"state": states})
    infos = lanes.step(np.zeros(3, dtype=int))[4]
    assert not infos["guard"].any(), "the next episode has begun"
    assert infos["final_info"]["guard"][2] == "support"
    assert infos["final_info"]["_guard"].tolist() == [False, False, True]
    assert infos["_disagreement"].all()
    assert infos["final_info"]["_disagreement"].tolist() == [False, False, True]
    penv = sim.parallel_env([0, 1])
    penv.reset(options={"state": {"agent_1": [14.0]}})
    *_, terminations, truncations, infos = penv.step({"agent_0": 0, "agent_1": 0})
    assert truncations == {"agent_0": False, "agent_1": True}
    assert not any(terminations.values())
    assert (infos["agent_0"]["guard"], infos["agent_1"]["guard"]) == ("", "support")
    assert penv.agents == ["agent_0"]


def test_the_task_ends_where_it_ends() -> None:
    step, terminated, truncated, info, position = ending(constant_simulator(-8.0, -8.0).env())
    assert (step, terminated, truncated, position) == (7, True, False, -56.0)
    assert info["guard"] == ""


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


# -- prices, bounds, starts, time ------------------------------------------------------------------


def test_a_penalty_is_subtracted() -> None:
    env = constant_simulator(1.0, 3.0).env(penalty=0.25)
    env.reset(options={"state": [10.0]})
    _, reward, _, _, info = env.step(0)
    assert info["reward_raw"] == 12.0
    assert info["penalty"] == pytest.approx(0.25)
    assert reward == info["reward_raw"] - info["penalty"]
    free = constant_simulator(1.0, 3.0).env()
    free.reset(options={"state": [10.0]})
    _, reward, _, _, info = free.step(0)
    assert reward == 12.0
    assert set(info) == {"agent", "disagreement", "clipped", "guard", *NONE}


def test_a_penalty_in_lanes() -> None:
    lanes = constant_simulator(1.0, 3.0).vector_env(2, penalty=0.5, max_episode_steps=2)
    lanes.reset(seed=0)
    go = np.zeros(2, dtype=int)
    for _ in range(2):
        _, reward, _, _, infos = lanes.step(go)
        np.testing.assert_allclose(reward, infos["reward_raw"] - 0.5)
        np.testing.assert_allclose(infos["penalty"], 0.5)
    _, reward, *_, infos = lanes.step(go)
    assert reward.tolist() == [0.0, 0.0]
    for key in ("reward_raw", "penalty", "disagreement"):
        assert infos[key].tolist() == [0.0, 0.0], "the step that only resets has no price"


def test_clipping_is_counted() -> None:
    env = constant_simulator(3.0, 3.0).env()
    env.reset(options={"state": [97.0]})
    first, second = env.step(0), env.step(0)
    assert (first[0].item(), first[4]["clipped"]) == (100.0, 0)
    assert (second[0].item(), second[4]["clipped"]) == (100.0, 1)
    assert second[1] == 100.0, "the reward is of the state that is returned"
    lanes = constant_simulator(3.0, 3.0).vector_env(2)
    lanes.reset(seed=0, options={"state": [[99.0], [0.0]]})
    assert lanes.step(np.zeros(2, dtype=int))[4]["clipped"].tolist() == [1, 0]


def test_starts_of_the_data() -> None:
    sim = constant_simulator(1.0, starts=(5.0, 7.0, 9.0))
    env = sim.env(start="data")
    drawn = [env.reset(seed=0)[0].item()] + [env.reset()[0].item() for _ in range(140)]
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [5, 7, 9]
    assert (counts > 20).all()
    # Lanes draw ahead, and see the very same.
    lanes = sim.vector_env(
        2, start="data", max_episode_steps=1, autoreset_mode=AutoresetMode.SAME_STEP
    )
    seen = [lanes.reset(seed=0)[0][0].item()]
    seen += [lanes.step(np.zeros(2, dtype=int))[0][0].item() for _ in range(140)]
    assert seen == drawn
    assert sim.env().reset(seed=0)[0].item() == 0.0, "by default the task's starts"
    assert sim.parallel_env([0], start="data").reset(seed=0)[0]["agent_0"].item() == drawn[0]


def test_recorded_starts_are_those_of_the_data(sim: PerSim) -> None:
    recorded_starts = sim.experience.starts
    assert len(recorded_starts) == NUM_AGENTS
    env = sim.env(start="data")
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        assert (recorded_starts == obs).all(axis=1).any()


def test_the_time_limit_is_the_environments_own(tmp_path: Path) -> None:
    sim = constant_simulator(1.0)
    assert ending(sim.env())[:3] == (30, False, True)
    assert ending(sim.env(max_episode_steps=4))[:3] == (4, False, True)
    assert ending(sim.env(max_episode_steps=47))[:3] == (47, False, True)
    for steps, limit in ((None, 30), (3, 3)):
        options = {} if steps is None else {"max_episode_steps": steps}
        lanes = sim.vector_env(2, **options)
        lanes.reset(seed=0)
        cut = [lanes.step(np.zeros(2, dtype=int))[3].all() for _ in range(limit)]
        assert cut == [False] * (limit - 1) + [True]


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


# -- drawing ---------------------------------------------------------------------------------------


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
