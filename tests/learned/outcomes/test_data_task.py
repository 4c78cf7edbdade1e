"""Tasks that data imply: rewards and ends with known answers, simulators of a user's table."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym import store
from persim_gym.core import Task
from persim_gym.envs import SUITES
from persim_gym.learned import DataTask, PerSim
from persim_gym.learned.outcomes import heads
from persim_gym.offline import Transitions, read_table
from tests.learned.worlds import PlainTask, random_walks

Rows = NDArray[np.float64]
Reward = Callable[[Rows, Rows, Rows], Rows]
End = Callable[[Rows], NDArray[np.bool_]]


def nothing(obs: Rows, action: Rows, next_obs: Rows) -> Rows:
    return np.zeros(len(obs))


def never(next_obs: Rows) -> NDArray[np.bool_]:
    return np.zeros(len(next_obs), dtype=np.bool_)


def walks(
    reward: Reward = nothing,
    end: End = never,
    *,
    episodes: int = 40,
    steps: int = 30,
    actions: int = 0,
    seed: int = 0,
) -> Transitions:
    """Noisy walks in the plane, an agent each; with ``actions`` to choose from, or one number."""
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-1, 1, (episodes, 2)).astype(np.float32)
    alive = np.ones(episodes, dtype=np.bool_)
    columns: list[tuple[Any, ...]] = []
    for _ in range(steps):
        if actions:
            action: Any = rng.integers(actions, size=episodes)
            push = (action - (actions - 1) / 2)[:, None]
        else:
            action = push = rng.uniform(-1, 1, (episodes, 1)).astype(np.float32)
        following = (obs + 0.2 * push + 0.1 * rng.normal(size=obs.shape)).astype(np.float32)
        exact = obs.astype(np.float64), push.astype(np.float64), following.astype(np.float64)
        over = end(exact[2])
        who = np.flatnonzero(alive)
        columns += [
            (k, obs[k], action[k], following[k], gain, over[k])
            for k, gain in zip(who, np.asarray(reward(*exact), dtype=np.float64)[who], strict=True)
        ]
        alive &= ~over
        obs = following
    columns.sort(key=lambda row: row[0])
    agent, obs_, action_, next_obs, gain, over = (
        np.array(column) for column in zip(*columns, strict=True)
    )
    last = np.append(np.diff(agent) > 0, True)
    return Transitions(
        agent=agent,
        obs=obs_,
        action=action_,
        next_obs=next_obs,
        reward=gain,
        terminated=over,
        truncated=last & ~over,
        episode=agent.copy(),
        num_agents=episodes,
        task_name="walks",
        dataset_id="walks",
        agent_names=tuple(f"walker {k}" for k in range(episodes)),
        obs_names=("east", "north"),
        action_names=("push",),
    )


def predicted(task: DataTask, t: Transitions) -> Rows:
    return task.reward(t.obs.astype(np.float64), t.action, t.next_obs.astype(np.float64))


def r2(task: DataTask, t: Transitions) -> float:
    return float(1 - np.mean((predicted(task, t) - t.reward) ** 2) / t.reward.var())


pytestmark = pytest.mark.usefixtures("all_steps")


@pytest.fixture
def brief(all_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are there, where it does not matter how good they are."""
    monkeypatch.setattr(heads, "STEPS", 50)


# -- rewards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [0, 3])
def test_a_quadratic_reward_is_recovered(actions: int) -> None:
    def reward(obs: Rows, push: Rows, following: Rows) -> Rows:
        return 1 - (following**2).sum(1) - 0.3 * push[:, 0] ** 2 + obs[:, 0] * push[:, 0]

    task = DataTask.from_transitions(walks(reward, actions=actions))
    assert task.card["reward"]["kind"] == "polynomial"
    assert task.card["reward"]["degree"] == 2
    assert task.card["reward"]["heldout_r2"] > 1 - 1e-9
    # Seven terms of coordinates, one or two of the action, no more: a planner's time is short.
    assert task.card["reward"]["terms"] <= 14
    fresh = walks(reward, actions=actions, seed=1, episodes=20)
    low, high = (f(walks(reward, actions=actions).reward) for f in (np.min, np.max))
    inside = (fresh.reward > low) & (fresh.reward < high)
    np.testing.assert_allclose(predicted(task, fresh)[inside], fresh.reward[inside], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "least"),
    [
        (lambda obs, push, following: -np.abs(following).sum(1), 0.995),
        (lambda obs, push, following: np.minimum(following[:, 0] - 0.2, 0.0) - push[:, 0], 0.995),
        (lambda obs, push, following: (following[:, 0] > 0.3).astype(float), 0.85),
    ],
    ids=["kink", "hinge", "step"],
)
def test_a_piecewise_reward_is_recovered(reward: Reward, least: float) -> None:
    task = DataTask.from_transitions(walks(reward))
    card = task.card["reward"]
    assert card["kind"] == "network"
    truth = r2(task, walks(reward, seed=1))
    assert truth > least
    # What the card promises is what fresh rows show.
    assert card["heldout_r2"] == pytest.approx(truth, abs=0.1 * (1 - least) + 0.05)


@pytest.mark.usefixtures("brief")
def test_chance_is_not_taken_for_a_reward() -> None:
    noise = np.random.default_rng(5)
    task = DataTask.from_transitions(walks(lambda obs, *rest: noise.normal(size=len(obs))))
    fresh = walks(lambda obs, *rest: noise.normal(size=len(obs)), seed=1)
    assert abs(task.card["reward"]["heldout_r2"]) < 0.1
    assert predicted(task, fresh).std() < 0.3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_reward_is_exact(value: float) -> None:
    task = DataTask.from_transitions(walks(lambda obs, *rest: np.full(len(obs), value)))
    assert task.card["reward"]["kind"] == "constant"
    assert (predicted(task, walks(seed=1)) == value).all()


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, -50.0])
@pytest.mark.parametrize("kind", ["polynomial", "network"])
def test_rewards_stay_within_what_was_recorded(kind: str, shift: float) -> None:
    def gain(obs: Rows, push: Rows, following: Rows) -> Rows:
        east = following[:, 0]
        return shift + (east if kind == "polynomial" else np.sign(np.sin(6.0 * east)) + east)

    data = walks(gain)
    task = DataTask.from_transitions(data)
    assert task.card["reward"]["kind"] == kind
    far = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    found = task.reward(far, np.zeros((2, 1)), far)
    assert (found >= data.reward.min()).all()
    assert (found <= data.reward.max()).all()
    if kind == "polynomial":
        np.testing.assert_allclose(found, [data.reward.max(), data.reward.min()])


@pytest.mark.usefixtures("brief")
def test_one_trajectory_is_enough() -> None:
    data = walks(lambda obs, push, following: following[:, 0] ** 2, episodes=1, steps=100)
    assert DataTask.from_transitions(data).card["reward"]["heldout_r2"] > 0.999


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    ("end", "kind", "least"),
    [
        (lambda s: np.abs(s[:, 0]) > 1.2, "limits", 0.995),
        (lambda s: (s[:, 0] > 1.0) | (s[:, 1] < -1.3), "limits", 0.995),
        (lambda s: s.sum(1) > 1.6, "polynomial", 0.985),
        (lambda s: (s**2).sum(1) > 1.5, "polynomial", 0.985),
    ],
    ids=["band", "corner", "slope", "circle"],
)
def test_a_threshold_is_recovered(end: End, kind: str, least: float) -> None:
    data = walks(end=end, episodes=80)
    task = DataTask.from_transitions(data)
    assert task.card["termination"]["kind"] == kind
    fresh = walks(seed=1, episodes=60).next_obs
    truth = end(fresh.astype(np.float64))
    assert 0.05 < truth.mean() < 0.6
    assert (task.terminated(fresh) == truth).mean() > least
    if kind == "limits":
        assert (task.terminated(fresh) == truth).mean() > 0.99


@pytest.mark.usefixtures("brief")
def test_ends_by_chance_are_not_predicted_everywhere() -> None:
    noise = np.random.default_rng(5)
    task = DataTask.from_transitions(walks(end=lambda s: noise.random(len(s)) < 0.02))
    assert task.terminated(walks(seed=1).next_obs).mean() < 0.02


@pytest.mark.usefixtures("brief")
def test_data_that_never_end_never_end() -> None:
    task = DataTask.from_transitions(walks())
    assert task.card["termination"] == {"kind": "never"}
    assert not task.terminated(np.full((3, 2), 1e6)).any()
    assert task.terminated(np.zeros((3, 2))).dtype == np.bool_
    assert task.terminated(torch.zeros(4, 3, 2)).shape == (4, 3)


@pytest.mark.parametrize(("episodes", "limit"), [(12, 1.7), (3, 0.8)])
def test_a_few_ends_are_used_but_not_praised(episodes: int, limit: float) -> None:
    data = walks(end=lambda s: s[:, 0] > limit, episodes=episodes)
    assert 1 <= data.terminated.sum() <= 2
    task = DataTask.from_transitions(data)
    assert task.card["termination"]["heldout_accuracy"] is None
    assert task.terminated(data.next_obs[data.terminated]).all()
    assert not task.terminated(data.next_obs[~data.terminated]).any()


# -- a task like any other -------------------------------------------------------------------------


def ended(s: Rows) -> NDArray[np.bool_]:
    return np.abs(s[:, 0]) > 1.2


def gained(obs: Rows, push: Rows, following: Rows) -> Rows:
    return -np.abs(following[:, 0]) + push[:, 0]


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("actions", [0, 3])
def test_spaces_and_limits_come_from_the_data(actions: int) -> None:
    data = walks(end=ended, actions=actions, episodes=10)
    task = DataTask.from_transitions(data)
    assert isinstance(task, Task)
    low = np.minimum(data.obs, data.next_obs).min(0)
    high = np.maximum(data.obs, data.next_obs).max(0)
    np.testing.assert_allclose(task.observation_space.low, low - (high - low), rtol=1e-6)
    np.testing.assert_allclose(task.observation_space.high, high + (high - low), rtol=1e-6)
    if actions:
        assert task.action_space == Discrete(3)
    else:
        assert isinstance(task.action_space, Box)
        assert task.action_space.low == data.action.min()
        assert task.action_space.high == data.action.max()
    assert task.max_episode_steps == data.lengths.max()
    assert (task.name, task.obs_names, task.action_names) == ("walks", ("east", "north"), ("push",))


@pytest.mark.usefixtures("brief")
def test_actions_that_were_never_taken_are_there_if_they_have_names() -> None:
    data = walks(actions=3, episodes=5)
    named = dataclasses.replace(data, action_labels=("west", "stay", "east", "jump"))
    task = DataTask.from_transitions(named)
    assert task.action_space == Discrete(4)
    assert task.action_labels == ("west", "stay", "east", "jump")
    again = DataTask.from_parts(task.tensors(), task.to_json())
    assert again.action_labels == task.action_labels
    assert again.action_space == Discrete(4)


def test_what_adds_up_has_room_for_many_times_the_record() -> None:
    """A total of all doses leaves the recorded range in time; a level comes back."""
    rng = np.random.default_rng(0)
    agents, steps = 30, 20
    dose = rng.uniform(0, 1, (agents, steps, 1))
    level, total = rng.uniform(2, 4, agents), np.zeros(agents)
    walk = [np.stack([level, total], axis=1)]
    for t in range(steps):
        level, total = 0.5 * level + dose[:, t, 0], total + dose[:, t, 0]
        walk.append(np.stack([level, total], axis=1))
    rows = [
        [f"a{k}", t, *walk[t][k], float(dose[k, min(t, steps - 1), 0])]
        for k in range(agents)
        for t in range(steps + 1)
    ]
    table = pd.DataFrame(rows, columns=["agent", "t", "level", "total", "dose"])
    columns = {"agent": "agent", "time": "t", "state": ["level", "total"], "action": ["dose"]}
    sim = PerSim.fit(table, columns=columns, method="hierarchical", progress=False)
    low, high = sim.task.observation_space.low, sim.task.observation_space.high
    width = np.ptp(np.stack(walk), axis=(0, 1))
    assert high[0] <= np.stack(walk)[..., 0].max() + width[0] + 1e-3
    assert high[1] > 5 * width[1]
    assert low[1] == 0  # it was never negative
    # From the end of a record, five times as long as it was.
    ahead = np.full((agents, 100, 1), 0.5, dtype=np.float32)
    found = sim.rollout(np.arange(agents), walk[-1].astype(np.float32), ahead).mean(0)
    np.testing.assert_allclose(found[:, -1, 1], walk[-1][:, 1] + 50, atol=1.0)


def test_a_coordinate_that_never_changes_has_a_space() -> None:
    data = walks()
    data.obs[:, 1] = data.next_obs[:, 1] = 5000.0
    space = DataTask.from_transitions(data).observation_space
    assert (space.low[1], space.high[1]) == (4995.0, 5005.0)


def test_starts_are_recorded_ones_row_by_row() -> None:
    data = walks(episodes=7)
    task = DataTask.from_transitions(data)
    starts = task.sample_start(np.random.default_rng(3), 200)
    assert starts.dtype == np.float64
    assert {tuple(s) for s in starts} == {tuple(s) for s in data.obs[data.starts].astype(float)}
    rng = np.random.default_rng(3)
    one_by_one = np.concatenate([task.sample_start(rng, 1) for _ in range(200)])
    np.testing.assert_array_equal(starts, one_by_one)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("actions", [0, 3])
def test_arrays_and_tensors_agree_over_any_axes(actions: int) -> None:
    task = DataTask.from_transitions(walks(gained, ended, actions=actions, episodes=20))
    rng = np.random.default_rng(0)
    obs, following = rng.normal(size=(2, 1, 4, 1, 2)), rng.normal(size=(2, 3, 4, 5, 2))
    shape = (4, 5) if actions else (4, 5, 1)
    action = rng.integers(3, size=shape) if actions else rng.uniform(-1, 1, shape)
    values = task.reward(obs[0], action, following[0])
    ends = task.terminated(following[0])
    assert isinstance(values, np.ndarray)
    assert values.shape == ends.shape == (3, 4, 5)
    assert values.dtype == np.float64
    assert ends.dtype == np.bool_
    single = [
        task.reward(obs[0, 0, j, 0], action[j, k], following[0, i, j, k])
        for i in range(3) for j in range(4) for k in range(5)
    ]  # fmt: skip
    np.testing.assert_allclose(np.array(single), values.reshape(-1), rtol=1e-12)
    tensors = [torch.as_tensor(part).float() for part in (obs[0], following[0])]
    acted = torch.as_tensor(action) if actions else torch.as_tensor(action).float()
    rewards = task.reward(tensors[0], acted, tensors[1])
    assert rewards.dtype == torch.float32
    np.testing.assert_allclose(rewards.numpy(), values, atol=1e-4)
    assert torch.equal(task.terminated(tensors[1]), torch.as_tensor(ends))


@pytest.mark.usefixtures("brief")
def test_a_seed_decides_everything_and_nothing_global_is_touched() -> None:
    data = walks(gained, ended, episodes=15)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (DataTask.from_transitions(data, seed=4) for _ in range(2))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert first.card == second.card
    np.testing.assert_array_equal(predicted(first, data), predicted(second, data))
    other = DataTask.from_transitions(data, seed=5)
    assert (predicted(first, data) != predicted(other, data)).any()


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("actions", [0, 3])
def test_parts_make_it_again(actions: int) -> None:
    data = walks(gained, ended, actions=actions, episodes=20)
    task = DataTask.from_transitions(data)
    again = DataTask.from_parts(task.tensors(), json.loads(json.dumps(task.to_json())))
    np.testing.assert_array_equal(predicted(again, data), predicted(task, data))
    np.testing.assert_array_equal(again.terminated(data.next_obs), task.terminated(data.next_obs))
    for name in ("name", "observation_space", "action_space", "max_episode_steps", "card",
                 "obs_names", "action_names"):  # fmt: skip
        assert getattr(again, name) == getattr(task, name), name
    assert again.to_json() == task.to_json()


def test_bad_data() -> None:
    data = walks(episodes=3)
    gain = np.where(np.arange(len(data)) == 4, np.nan, 0.0)
    with pytest.raises(ValueError, match=r"reward of transition 4 \(agent 0, episode 0\) is not"):
        DataTask.from_transitions(dataclasses.replace(data, reward=gain))
    with pytest.raises(ValueError, match=r"coordinate 0 of the actions is 0\.5 in every"):
        DataTask.from_transitions(dataclasses.replace(data, action=np.full_like(data.action, 0.5)))
    with pytest.raises(ValueError, match="discrete actions must be integers from 0 on"):
        DataTask.from_transitions(dataclasses.replace(data, action=data.action[:, 0]))


# -- simulators ------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {
    "agent": "patient",
    "time": "minute",
    "state": ["glucose", "iob"],
    "action": ["insulin"],
    "reward": "reward",
}
QUICK: dict[str, Any] = {
    "epochs": 2, "ensemble_size": 2, "spare_members": 0, "rank": 2, "state_hidden": (8,),
    "action_hidden": (8,), "progress": False,
}  # fmt: skip


def patients(agents: int = 4, steps: int = 20, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(agents):
        glucose, iob = rng.uniform(90, 160), 0.0
        for t in range(steps):
            dose = rng.uniform(0, 2)
            rows.append((f"adult#{k + 1:03}", 5 * t, glucose, iob, dose, -abs(glucose - 110) / 50))
            iob = 0.8 * iob + dose
            glucose += 3 - (1 + 0.5 * k) * iob + rng.normal()
    names = ["patient", "minute", "glucose", "iob", "insulin", "reward"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return PerSim.fit(read_table(patients(), name="glucose", **COLUMNS), **QUICK)


@pytest.mark.slow
def test_a_table_becomes_a_simulator(sim: PerSim) -> None:
    assert isinstance(sim.task, DataTask)
    assert sim.task.name == sim.card["task"] == "glucose"
    assert sim.agent_names == ("adult#001", "adult#002", "adult#003", "adult#004")
    assert sim.task.obs_names == ("glucose", "iob")
    assert sim.card["data_task"]["reward"]["heldout_r2"] > 0.9
    assert sim.card["data_task"]["termination"] == {"kind": "never"}


@pytest.mark.usefixtures("brief")
def test_files_and_frames_need_columns(tmp_path: Path, sim: PerSim) -> None:
    patients().to_parquet(tmp_path / "glucose.parquet")
    patients().to_csv(tmp_path / "glucose.csv", index=False)
    sources: list[Any] = [tmp_path / "glucose.parquet", str(tmp_path / "glucose.csv"), patients()]
    for source in sources:
        again = PerSim.fit(source, columns=COLUMNS, **QUICK)
        assert again.card["dataset"]["sha256"] == sim.card["dataset"]["sha256"]
        with pytest.raises(ValueError, match="say what the table's columns are"):
            PerSim.fit(source, **QUICK)
        with pytest.raises(TypeError, match="agent_of= is for Minari data sets; of a table"):
            PerSim.fit(source, columns=COLUMNS, agent_of="patient")
    with pytest.raises(ValueError, match=r"columns= has no 'actions'.*: it has agent, state"):
        PerSim.fit(patients(), columns=COLUMNS | {"actions": ["insulin"]})
    with pytest.raises(ValueError, match="columns= does not name the agent of the table"):
        PerSim.fit(patients(), columns={"state": "glucose"})
    data = read_table(patients(), **COLUMNS)
    with pytest.raises(TypeError, match="columns= is for tables, and data is Transitions"):
        PerSim.fit(data, columns=COLUMNS)
    with pytest.raises(TypeError, match="agent_of= is for Minari data sets"):
        PerSim.fit(data, agent_of=lambda episode: 0)
    with pytest.raises(ValueError, match="the paper has no task 'table'"):
        PerSim.fit(data, preset="paper")


def test_data_of_another_task_are_refused(sim: PerSim) -> None:
    turned = COLUMNS | {"state": ["iob", "glucose"]}
    with pytest.raises(ValueError, match=r"observes glucose, iob, the data iob, glucose: they are"):
        PerSim.fit(patients(), columns=turned, task=sim.task, **QUICK)
    narrow = COLUMNS | {"state": ["glucose"]}
    with pytest.raises(ValueError, match="'glucose' has 2 coordinates, the data have 1: they are"):
        PerSim.fit(patients(), columns=narrow, task=sim.task, **QUICK)
    assert PerSim.fit(patients(), columns=COLUMNS, task=sim.task, **QUICK).task is sim.task


@pytest.mark.usefixtures("brief")
def test_data_of_a_named_task_are_of_that_task() -> None:
    suite = SUITES["cartpole"]
    data = random_walks(suite.task(), agents=2, steps=6)
    assert not isinstance(PerSim.fit(data, **QUICK).task, DataTask)
    other = dataclasses.replace(data, task_name="my-cartpole")
    assert isinstance(PerSim.fit(other, **QUICK).task, DataTask)
    assert isinstance(PerSim.fit(other, task=PlainTask.of(4, actions=2), **QUICK).task, PlainTask)


def test_agents_by_name(sim: PerSim) -> None:
    assert sim.agent_index("adult#003") == sim.agent_index(2) == sim.agent_index(np.int64(2)) == 2
    with pytest.raises(ValueError, match=r"no agent 'adult#005' among the 4.*you mean 'adult#00"):
        sim.agent_index("adult#005")
    with pytest.raises(ValueError, match="agent 4 does not exist"):
        sim.agent_index(4)
    with pytest.raises(TypeError, match="agent must be an integer, got True"):
        sim.agent_index(True)
    env = sim.env(agent="adult#003")
    assert env.agent == 2
    assert env.reset(seed=0, options={"agent": "adult#002"})[1]["agent"] == 1
    with pytest.raises(ValueError, match="there is no agent 'nobody'"):
        env.reset(options={"agent": "nobody"})
    for agents, indices in (
        ("adult#002", [1, 1]),
        (["adult#004", "adult#001"], [3, 0]),
        (["adult#004", 1], [3, 1]),
        (np.array(["adult#001", "adult#001"]), [0, 0]),
        (range(2), [0, 1]),
        (3, [3, 3]),
    ):
        assert sim.vector_env(2, agents=agents).agents.tolist() == indices
    parallel = sim.parallel_env(["adult#004", "adult#001"])
    assert parallel.possible_agents == ["adult#004", "adult#001"]
    with pytest.raises(ValueError, match="there is no agent 'x'"):
        sim.parallel_env(["adult#001", "x"])


def test_agents_that_are_numbers_have_no_names() -> None:
    sim = PerSim.fit(
        random_walks(PlainTask.of(2, actions=3)), task=PlainTask.of(2, actions=3), **QUICK
    )
    assert sim.agent_names is None
    with pytest.raises(ValueError, match=r"agent 'a' is not known by name.*numbers, 0 to 3"):
        sim.env(agent="a")


def test_saved_and_loaded(sim: PerSim, tmp_path: Path) -> None:
    folder = sim.save(tmp_path / "glucose")
    again = PerSim.load(folder)
    assert isinstance(again.task, DataTask)
    assert again.agent_names == sim.agent_names
    assert again.card["data_task"] == sim.card["data_task"]
    tensors, _ = store.read(folder / store.SIMULATOR, "simulator")
    assert {name for name in tensors if name.startswith("task.")} >= {"task.starts", "task.low"}
    actions = sim.task.action_space.sample()
    results = []
    for each in (sim, again, again.to("cpu")):
        env = each.env(agent="adult#002")
        results.append([env.reset(seed=7)[0].tolist(), *map(str, env.step(actions))])
    assert results[0] == results[1] == results[2]
    given = PerSim.load(folder, task=PlainTask.of(2, action_dim=1))
    assert isinstance(given.task, PlainTask)


def test_a_file_without_its_task_is_refused(sim: PerSim, tmp_path: Path) -> None:
    folder = sim.save(tmp_path / "glucose")
    tensors, card = store.read(folder / store.SIMULATOR, "simulator")
    del card["data_task"]
    store.write(folder / store.SIMULATOR, "simulator", tensors, card)
    with pytest.raises(ValueError, match="lacks what a simulator needs: 'data_task'"):
        PerSim.load(folder)


@pytest.mark.usefixtures("brief")
def test_a_checkpoint_of_other_rewards_is_refused(tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PerSim.fit(
            patients(), columns=COLUMNS, out=tmp_path, save_every=0.0, on_epoch=stop, **QUICK
        )
    assert (tmp_path / store.CHECKPOINT).exists()
    dearer = patients().assign(reward=lambda t: 2 * t["reward"])
    with pytest.raises(ValueError, match="checkpoint"):
        PerSim.fit(dearer, columns=COLUMNS, out=tmp_path, **QUICK)
    assert isinstance(PerSim.fit(patients(), columns=COLUMNS, out=tmp_path, **QUICK), PerSim)


def test_a_planner_hears_the_learned_reward() -> None:
    """Reward for being in the east, where the last action leads: MPC takes it."""
    from persim_gym.planning import MPC, RandomShooting

    data = walks(lambda obs, push, following: following[:, 0], actions=3, episodes=10)
    sim = PerSim.fit(data, **QUICK | {"epochs": 60, "learning_rate": 1e-2})
    mpc = MPC(sim, agent=3, planner=RandomShooting(candidates=64, horizon=4))
    actions = [int(mpc.predict(np.zeros(2, np.float32))[0]) for _ in range(5)]
    assert actions == [2] * 5
    assert math.isfinite(sim.task.reward(np.zeros(2), 2, np.zeros(2)))
