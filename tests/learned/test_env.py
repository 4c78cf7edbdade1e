"""Learned environments: what they predict and share, how long they last, what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer

from persim_gym import LEARNED_ID
from persim_gym.core import Task
from persim_gym.envs.suites import find_suite
from persim_gym.envs.tasks.cart_pole import CartPoleTask
from persim_gym.learned import PerSim
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import UNROLL_MODES
from persim_gym.learned.env import as_simulator
from persim_gym.learned.stepping.member_steps import MEMBERS
from persim_gym.planning import MPC, RandomShooting
from persim_gym.planning.objective import Shaping
from tests.learned.worlds import PlainTask, random_simulator, random_walks

DISCRETE = PlainTask.of(2, actions=3, low=-1.0)
QUICK: dict[str, Any] = {
    "method": "als", "degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 3,
}  # fmt: skip


def walled(task: Task = DISCRETE, lag: int = 1) -> PerSim:
    """A simulator in whose data a wall at the lower bound of coordinate 0 stops coordinate 1."""
    sim = random_simulator(task, lag=lag)
    d = task.observation_space.shape[0]
    effect = torch.zeros(1, 3, d)
    effect[0, 1] = 1.0
    effect[0, :, 1] = torch.tensor([0.25, 0.0, 0.0])
    low = torch.tensor([float(task.observation_space.low[0])])
    wall = BoundEffects(torch.tensor([0]), torch.tensor([-1.0]), low, effect)
    return PerSim(sim.ensemble.with_effects(wall), task, sim.experience, sim.card)


@pytest.fixture(scope="module", params=["networks", "networks, lag 2", "closed form", "actions"])
def sim(request: pytest.FixtureRequest) -> PerSim:
    if request.param == "networks":
        return walled()
    if request.param == "networks, lag 2":
        return walled(lag=2)
    task = PlainTask.of(3, action_dim=2, low=-1.0) if request.param == "actions" else DISCRETE
    fitted = PerSim.fit(random_walks(task, steps=60), task=task, **QUICK)
    parts = fitted.ensemble.with_effects(walled(task).ensemble.effects)
    return PerSim(parts, task, fitted.experience, fitted.card)


def states_at_the_wall(sim: PerSim, n: int) -> Any:
    """Half of them about to run into it."""
    rng = np.random.default_rng(0)
    d = sim.task.observation_space.shape[0]
    states = rng.uniform(-0.9, 0.9, (n, d)).astype(np.float32)
    states[::2, 0] = -0.99999
    return states


def actions_of(sim: PerSim, n: int) -> Any:
    rng = np.random.default_rng(1)
    if hasattr(sim.task.action_space, "n"):
        return rng.integers(3, size=n)
    return rng.uniform(-1, 1, (n, *sim.task.action_space.shape)).astype(np.float32)


@pytest.mark.parametrize("propagation", ["mean", *MEMBERS])
def test_an_environment_is_its_simulator(sim: PerSim, propagation: str) -> None:
    n = 24
    agents, states, actions = np.arange(n) % 4, states_at_the_wall(sim, n), actions_of(sim, n)
    members = sim.predict_members(agents, states, actions)
    spread = sim.disagreement(agents, states, actions)
    stopped = (members[..., 1] == 0.25).any(0)
    assert 4 <= stopped.sum() < n, "some run into the wall, and some do not"
    options: dict[str, Any] = {"propagation": propagation, "guard": False}

    def check(row: int, obs: Any, info: Any) -> None:
        candidates = members.mean(0)[None] if propagation == "mean" else members
        distance = np.abs(candidates[:, row] - obs).max(-1).min()
        assert distance < 1e-6
        np.testing.assert_allclose(info["disagreement"], spread[row], rtol=1e-4, atol=1e-6)
        space = sim.task.observation_space
        outside = (members[:, row] <= space.low) | (members[:, row] >= space.high)
        assert (info["clipped"] > 0) <= outside.any()

    scalar = sim.env(**options)
    for row in range(n):
        scalar.reset(seed=row, options={"agent": agents[row], "state": states[row]})
        obs, _, _, _, info = scalar.step(actions[row])
        check(row, obs, info)
    lanes = sim.vector_env(n, agents=agents, **options)
    lanes.reset(seed=0, options={"state": states})
    obs, _, _, _, infos = lanes.step(actions)
    for row in range(n):
        check(row, obs[row], {key: infos[key][row] for key in ("disagreement", "clipped")})
    penv = sim.parallel_env(range(4), **options)
    names = penv.possible_agents
    penv.reset(seed=0, options={"state": dict(zip(names, states, strict=False))})
    seen, *_, infos = penv.step({name: actions[row] for row, name in enumerate(names)})
    for row, name in enumerate(names):
        check(row, seen[name], infos[name])


def test_a_planner_s_rollouts_are_its_simulator_s(sim: PerSim) -> None:
    n, h = 6, 5
    agents, states = np.arange(n) % 4, states_at_the_wall(sim, n)
    actions = np.stack([actions_of(sim, n) for _ in range(h)], axis=1)
    steps = list(sim.unroll(agents, states, actions[:, None], "mean"))
    state = np.repeat(states[:, None], sim.lag, axis=1)
    for t in range(h):
        obs = sim.predict(agents, state, actions[:, t])
        np.testing.assert_allclose(steps[t].mean(0)[:, 0], obs, atol=1e-5)
        state = np.concatenate([state[:, 1:], obs[:, None]], axis=1)


FAMILIES: dict[str, dict[str, Any]] = {
    "als": {"degree": 1, "rank": 1, "threshold": 0.0},
    "sgd": {"epochs": 1, "rank": 2},
    "hierarchical": {"degree": 1},
    "latent": {"hidden": (8,), "first_steps": 3, "steps": 3, "window_steps": 3},
}


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("method", FAMILIES)
def test_planners_roll_out_every_family(method: str, lag: int) -> None:
    task = PlainTask.of(2, action_dim=1)
    data = random_walks(task)
    options = {**FAMILIES[method], "ensemble_size": 2, "lag": lag, "progress": False}
    sim = PerSim.fit(data, task=task, method=method, **options)
    agents, actions = np.array([0, 3]), np.full((2, 3, 1), 0.3, np.float32)
    state = sim.recall(data.obs[:2])
    for mode in UNROLL_MODES:
        first = next(sim.unroll(agents, state, actions[:, None], mode))
        expected = sim.predict_members(agents, state, actions[:, 0])
        if mode == "sampled":
            expected = expected[:1]
        np.testing.assert_allclose(first[:, :, 0], expected, atol=1e-5)
    if lag == 1:
        steps = list(sim.unroll(agents, state, actions[:, None], "mean"))
        for t, found in enumerate(steps):
            state = sim.predict(agents, state, actions[:, t])
            np.testing.assert_allclose(found.mean(0)[:, 0], state, atol=1e-5)


def test_the_guard_s_limit_is_on_the_scale_of_disagreement(sim: PerSim) -> None:
    agents, states, actions = np.arange(8) % 4, states_at_the_wall(sim, 8), actions_of(sim, 8)
    spread = sim.disagreement(agents, states, actions)
    rows = np.flatnonzero(spread)
    assert len(rows) >= 6
    for factor, stops in ((0.99, True), (1.01, False)):
        for row in rows:
            limit = factor * float(spread[row])
            own = replace(sim.experience, disagreement_limit=limit)
            wide = replace(own, low=own.low - 9, high=own.high + 9)
            env = PerSim(sim.ensemble, sim.task, wide, sim.card).env(agents[row])
            env.reset(options={"state": states[row]})
            assert env.step(actions[row])[3] == stops


# -- one file, many environments -------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = find_suite("cartpole").task()
    data = replace(random_walks(task, steps=30, scale=0.01), task_name="cartpole")
    return PerSim.fit(data, **QUICK).save(tmp_path_factory.mktemp("simulators") / "sim")


def test_what_is_done_to_one_environment_s_simulator_no_other_knows(folder: Path) -> None:
    def answer() -> Any:
        sim = as_simulator(folder)
        rows = np.zeros((4, 4), dtype=np.float32), np.zeros(4, dtype=int)
        counts = [sim.posterior(k).count for k in range(4)]
        return sim.num_agents, counts, sim.card.get("adapted"), sim.predict(np.arange(4), *rows)

    before = answer()
    env = gym.make(LEARNED_ID, simulator=folder)
    own = env.unwrapped.dynamics.sim
    obs = np.full((3, 4), 0.01, dtype=np.float32)
    own.adapt(obs, np.zeros(3, dtype=int), obs + 0.001, name="new")
    own.update(2, obs, np.zeros(3, dtype=int), obs + 0.001)
    assert own.num_agents == 5
    after = answer()
    for mine, theirs in zip(before, after, strict=True):
        np.testing.assert_equal(mine, theirs)
    # The environment itself goes on with what it has learned.
    env.reset(options={"agent": "new"})
    env.step(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "length"),
    [
        ({}, 200),
        ({"max_episode_steps": 7}, 7),
        ({"max_episode_steps": 900}, 900),
        ({"max_episode_steps": -1}, None),
    ],
    ids=str,
)
def test_the_time_limit_is_the_one_that_was_asked_for(
    folder: Path, asked: dict[str, int], length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengths(env: Any) -> Iterator[int | None]:
        base = env.unwrapped
        # A state from which nothing ends.
        monkeypatch.setattr(type(base.task), "terminated", lambda task, obs: obs[..., 0] > 1e9)
        for _ in range(2):
            env.reset(seed=0)
            yield next((t for t in range(1, 950) if env.step(0)[3]), None)

    env = gym.make(LEARNED_ID, simulator=folder, guard=False, **asked)
    assert env.spec is not None
    assert env.spec.max_episode_steps == length
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec.max_episode_steps == length
    for made in (env, again, gym.make(again.spec)):
        assert list(lengths(made)) == [length, length]
    lanes = gym.make_vec(LEARNED_ID, num_envs=2, simulator=folder, guard=False, **asked)
    assert lanes.unwrapped._lanes.max_episode_steps == length
    assert lanes.spec.max_episode_steps == length
    again = gym.make_vec(EnvSpec.from_json(lanes.spec.to_json()))
    assert again.unwrapped._lanes.max_episode_steps == length
    sync = gym.make_vec(
        LEARNED_ID, num_envs=2, vectorization_mode="sync", simulator=folder, guard=False, **asked
    )
    assert list(lengths(sync.envs[1])) == [length, length]


@pytest.mark.filterwarnings("ignore:.* is set to None:UserWarning")
def test_a_spec_works_in_another_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env = gym.make(LEARNED_ID, simulator="sim", agent=1)
    lanes = gym.make_vec(LEARNED_ID, num_envs=2, simulator=Path("sim"))
    specs = [env.spec.to_json(), lanes.spec.to_json()]
    (obs, _), step = env.reset(seed=0), env.step(0)
    rows = {"actions": [0], "rewards": [step[1]], "terminations": [False], "truncations": [True]}
    buffer = EpisodeBuffer(observations=[obs, step[0]], **rows)
    dataset = minari.create_dataset_from_buffers("test/learned-v0", [buffer], env=env)
    monkeypatch.chdir(tmp_path)
    assert gym.make(EnvSpec.from_json(specs[0])).unwrapped.agent == 1
    assert gym.make_vec(EnvSpec.from_json(specs[1])).num_envs == 2
    assert dataset.recover_environment().unwrapped.agent == 1
    monkeypatch.setenv("HOME", str(folder.parent))
    assert gym.make(LEARNED_ID, simulator="~/sim").unwrapped.dynamics.num_agents == 4


@pytest.mark.parametrize("env_id", ["PerSim-CartPole-v0", LEARNED_ID])
def test_both_words_for_agents(folder: Path, env_id: str) -> None:
    given: dict[str, Any] = {"simulator": folder} if env_id == LEARNED_ID else {}
    assert gym.make(env_id, agents=2, **given).unwrapped.agent == 2
    assert gym.make(env_id, agent=2, agents=[2], **given).unwrapped.agent == 2
    for words in ({"agent": 2}, {"agents": 2}, {"agent": 2, "agents": [2, 2]}):
        assert gym.make_vec(env_id, num_envs=2, **words, **given).agents.tolist() == [2, 2]
    for words in ({"agent": 2}, {"agents": 2}):
        sync = gym.make_vec(env_id, num_envs=2, vectorization_mode="sync", **words, **given)
        assert [env.unwrapped.agent for env in sync.envs] == [2, 2]
    lanes = gym.make_vec(env_id, num_envs=3, agent=[0, 2, 1], **given)
    assert lanes.agents.tolist() == [0, 2, 1]
    with pytest.raises(ValueError, match="are not the same: give one"):
        gym.make(env_id, agent=1, agents=2, **given)
    with pytest.raises(ValueError, match="are not the same: give one"):
        gym.make_vec(env_id, num_envs=2, agent=1, agents=[1, 2], **given)
    with pytest.raises(ValueError, match=r"is of one agent, got 2.*vectorization_mode"):
        gym.make_vec(env_id, num_envs=2, vectorization_mode="sync", agents=[1, 2], **given)


@pytest.mark.slow
def test_lanes_that_are_not_named_are_agents_that_something_is_known_of() -> None:
    data = random_walks(DISCRETE, steps=60)
    data = replace(data.select((data.agent == 1) | (data.agent == 3)), num_agents=5)
    sim = PerSim.fit(data, task=DISCRETE, **QUICK)
    assert sim.env().agent == 1
    lanes = sim.vector_env(5)
    assert lanes.agents.tolist() == [1, 3, 1, 3, 1]
    lanes.reset(seed=0)
    lanes.step(np.zeros(5, dtype=int))


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"guard": "x"}, {"guard": 1}, {"guard": None}, {"penalty": "1"}, {"penalty": True},
        {"penalty": 1j}, {"penalty": 10**400}, {"propagation": 3}, {"propagation": None},
        {"propagation": ["mean"]}, {"start": 0}, {"start": None}, {"covariates": 3},
        {"covariates": {"force": "2"}}, {"covariates": {"force": float("nan")}},
        {"covariates": [("force", 2.0)]}, {"max_episode_steps": "5"}, {"max_episode_steps": 2.0},
        {"max_episode_steps": True}, {"render_mode": 5},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_wrong_type_are_refused(folder: Path, option: dict[str, Any]) -> None:
    sim, word = as_simulator(folder), next(iter(option))
    faces = (
        sim.env,
        lambda **given: sim.vector_env(2, **given),
        lambda **given: sim.parallel_env([0], **given),
    )
    for make in faces:
        with pytest.raises((TypeError, ValueError), match=word.rstrip("s")):
            make(**option)


@pytest.mark.parametrize(
    "option",
    [
        {"shaping": 5}, {"shaping": "upright"}, {"shaping": Shaping(9, 1.0)},
        {"shaping": Shaping(0, float("nan"))}, {"penalty": "1"}, {"penalty": float("nan")},
        {"propagation": "median"}, {"propagation": 5}, {"planner": 5}, {"planner": None},
        {"seed": 1.5}, {"seed": "1"}, {"task": 5},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_a_planner_are_refused(folder: Path, option: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(option))):
        MPC(as_simulator(folder), 0, **{"planner": RandomShooting(4, 3), **option})


BAD = {
    "nan": np.full((2, 4), np.nan),
    "infinite": np.array([[0, 0, 0, 0], [0, 0, np.inf, 0]]),
    "beyond single precision": np.full((2, 4), 1e300),
    "complex": np.zeros((2, 4), dtype=complex),
    "complex tensor": torch.zeros(2, 4, dtype=torch.complex64),
    "text": np.array([["1"] * 4] * 2),
    "objects": np.full((2, 4), None),
    "ragged": [[0.0] * 4, [0.0] * 3],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_no_finite_real_number_is_refused(folder: Path, bad: Any) -> None:
    sim = as_simulator(folder)
    good, actions, many = np.zeros((2, 4)), np.zeros(2, dtype=int), np.zeros((2, 3), dtype=int)
    calls = {
        "predict": lambda: sim.predict(0, bad, actions),
        "members": lambda: sim.predict_members(0, bad, actions),
        "disagreement": lambda: sim.disagreement(0, bad, actions),
        "rollout": lambda: sim.rollout(0, bad, many),
        "posterior": lambda: sim.posterior(0).interval(bad, actions),
    }
    if bad is not BAD["beyond single precision"]:
        calls |= {
            "adapt": lambda: sim.adapt(bad, actions, good),
            "adapt, next": lambda: sim.adapt(good, actions, bad),
            "update": lambda: sim.update(0, bad, actions, good),
            "update, next": lambda: sim.update(0, good, actions, bad),
        }
    else:
        calls.pop("posterior")
    for name, call in calls.items():
        with pytest.raises((TypeError, ValueError), match=r"(obs|next_obs) must"):
            call()
        assert sim.num_agents == 4, name


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, 1j, "a", None], ids=str)
def test_actions_that_are_no_finite_real_numbers_are_refused(bad: Any) -> None:
    sim = random_simulator(PlainTask.of(3, action_dim=2))
    obs = np.zeros((2, 3))
    with pytest.raises((TypeError, ValueError), match="actions must"):
        sim.predict(0, obs, np.full((2, 2), bad))
    with pytest.raises((TypeError, ValueError), match="actions must"):
        sim.rollout(0, obs, np.full((2, 4, 2), bad))


# -- a user's own settings of torch ----------------------------------------------------------------

DOUBLE = """
import dataclasses
import sys
from pathlib import Path
import numpy as np
import torch
torch.set_default_dtype(torch.float64)
from persim_gym.store import SIMULATOR
from tests.learned.worlds import PlainTask, random_walks
from persim_gym.learned import PerSim
from persim_gym.learned.outcomes import heads
from persim_gym.planning import MPC

heads.STEPS = 20
for task, options in (
    (PlainTask.of(2, actions=3, low=-1.0), {"method": "als", "degree": 2, "rank": 2}),
    (PlainTask.of(2, actions=3), {"method": "sgd", "epochs": 2, "rank": 2}),
    (PlainTask.of(3, action_dim=2, low=-0.6), {"method": "sgd", "epochs": 2, "rank": 2}),
    (None, {"method": "als", "degree": 2, "rank": 2}),
    (None, {"method": "hierarchical", "degree": 1}),
    (None, {"method": "latent", "hidden": (8,), "first_steps": 3, "steps": 3, "window_steps": 3}),
):
    data = random_walks(task or PlainTask.of(2, actions=3))
    reward = np.sin(3.0 * data.next_obs[:, 0].astype(np.float64))
    data = dataclasses.replace(data, reward=reward)
    folders = []
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        folders.append(Path(sys.argv[1], str(len(list(Path(sys.argv[1]).iterdir())))))
        sim = PerSim.fit(
            data, task=task, ensemble_size=2, progress=False, out=folders[-1], **options
        )
    plain, double = ((folder / SIMULATOR).read_bytes() for folder in folders)
    assert plain == double, options
    obs, action = data.obs[:3], data.action[:3]
    if sim.ensemble.linear:
        sim.adapt(data.obs[:9], data.action[:9], data.next_obs[:9])
        sim.update(0, obs, action, data.next_obs[:3])
    folder = sim.save(sys.argv[1] + "-again")
    again = PerSim.load(folder, task=task)
    last = sim.num_agents - 1
    np.testing.assert_array_equal(
        again.predict(last, obs, action), sim.predict(last, obs, action)
    )
    for model in (sim, again):
        envs = model.vector_env(3)
        envs.reset(seed=0)
        envs.step(action)
        env = model.env(last)
        state = env.reset(seed=0)[0]
        env.step(MPC(model, last).predict(state)[0])
"""


@pytest.mark.slow
def test_double_precision_as_torch_s_default(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DOUBLE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


class Batches(CartPoleTask):
    """A task of a user's own that asks for the first axis."""

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return next_obs[:, 0] + action[:]


def test_tasks_of_a_user_s_own_get_batches_of_one() -> None:
    plain, own = (random_simulator(task).env(agent=1) for task in (CartPoleTask(), Batches()))
    for env in (plain, own):
        env.reset(seed=0)
    steps = plain.step(1), own.step(1)
    np.testing.assert_array_equal(steps[0][0], steps[1][0])
    assert steps[0][1] == 1.0
    assert steps[1][1] == pytest.approx(1.0 + steps[1][0][0], abs=1e-6)
