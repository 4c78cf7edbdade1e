"""Data sets of this package's environments that were not simply recorded by its recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium import wrappers as w
from gymnasium.spaces import Box, Discrete
from minari.data_collector import EpisodeBuffer

from persim_gym.learned import DataTask, PerSim
from persim_gym.learned.preparation import task_for
from persim_gym.offline import data_card, read_transitions, record
from persim_gym.offline.summaries import describe

FORMATS = ("hdf5", "arrow", "parquet")


class Own(gym.ActionWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """A wrapper of somebody's own, of which nothing is known."""

    def __init__(self, env: Any) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def action(self, action: Any) -> Any:
        return action


def recorded(env: gym.Env[Any, Any], agents: Any = (0, 1, 2), **options: Any) -> Any:
    """An episode of each agent, as Minari keeps it, under random actions."""
    buffers = []
    env.action_space.seed(0)
    for agent in agents:
        obs, _ = env.reset(seed=agent, options={"agent": agent})
        seen, rows, over = [obs], [], False
        while not over:
            action = env.action_space.sample()
            obs, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            seen.append(obs)
            rows.append((action, reward, terminated, truncated))
        actions, rewards, ends, stops = map(np.array, zip(*rows, strict=True))
        buffers.append(
            EpisodeBuffer(
                options={"agent": agent}, observations=np.array(seen), actions=actions,
                rewards=rewards, terminations=ends, truncations=stops,
            )
        )  # fmt: skip
    with pytest.warns(UserWarning, match="None"):
        dataset = minari.create_dataset_from_buffers(
            "wrapped/data-v0",
            buffers,
            env=env.spec,
            observation_space=env.observation_space,
            action_space=env.action_space,
            **options,
        )
    return dataset


def cart_pole(**options: Any) -> gym.Env[Any, Any]:
    return gym.make("PerSim-CartPole-v0", **options)


def cheetah() -> gym.Env[Any, Any]:
    return gym.make("PerSim-HalfCheetah-v0", max_episode_steps=20)


def mountain_car() -> gym.Env[Any, Any]:
    return gym.make("PerSim-MountainCar-v0", max_episode_steps=20)


CHANGING = {
    "NormalizeObservation": lambda: w.NormalizeObservation(cart_pole()),
    "NormalizeReward": lambda: w.NormalizeReward(cart_pole()),
    "RescaleAction": lambda: w.RescaleAction(cheetah(), -10, 10),
    "ClipReward": lambda: w.ClipReward(cart_pole(), -0.5, 0.5),
    "MaxAndSkipObservation": lambda: w.MaxAndSkipObservation(mountain_car(), 2),
    "DelayObservation": lambda: w.DelayObservation(cart_pole(), 1),
    "StickyAction": lambda: w.StickyAction(cart_pole(), 0.5),
    "Own": lambda: Own(cart_pole()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_what_wrappers_may_have_changed_is_no_bare_task(name: str) -> None:
    dataset = recorded(CHANGING[name]())
    data = read_transitions(dataset)
    suite = data.task_name.split(" through ")[0]
    assert data.task_name == f"{suite} through {name}"
    assert isinstance(task_for(data, 0), DataTask)
    assert describe(dataset).task == data.task_name
    assert data_card(dataset).summary.task == data.task_name
    assert data.num_agents == 500


@pytest.mark.slow
def test_wrapped_data_are_fitted_by_what_they_say() -> None:
    dataset = recorded(w.ClipReward(w.NormalizeObservation(cart_pole()), -0.5, 0.5), range(8))
    sim = PerSim.fit(dataset, epochs=1, ensemble_size=1, rank=1, progress=False)
    assert isinstance(sim.task, DataTask)
    assert sim.task.name == "cartpole through NormalizeObservation, ClipReward"
    assert sim.card["task"] == sim.task.name
    rows = np.zeros((3, 4), np.float32)
    assert sim.task.reward(rows, np.zeros(3, int), rows) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "made",
    [
        cart_pole,
        lambda: cart_pole(max_episode_steps=7),
        lambda: cart_pole(agent=3),
        lambda: w.TimeLimit(w.RecordEpisodeStatistics(cart_pole()), 5),
        lambda: w.OrderEnforcing(w.PassiveEnvChecker(cart_pole())),
        lambda: w.RenderCollection(cart_pole(render_mode="rgb_array")),
    ],
)
def test_what_changes_nothing_is_the_bare_task(made: Any) -> None:
    data = read_transitions(recorded(made()))
    assert (data.task_name, data.num_agents, data.agent[data.starts].tolist()) == (
        "cartpole", 500, [0, 1, 2],
    )  # fmt: skip


def test_other_spaces_are_another_task() -> None:
    env = cart_pole()
    env.observation_space = Box(-1e6, 1e6, (4,), np.float64)
    data = read_transitions(recorded(env))
    assert data.task_name == "cartpole through another observation space"


def test_one_agent_by_its_covariates() -> None:
    dataset = recorded(cart_pole(covariates={"force": 12.0}), agents=[0])
    data = read_transitions(dataset)
    assert (data.task_name, data.num_agents) == ("cartpole", 1)
    assert data.population is not None
    assert data.population["covariates"]["force"] == [12.0]


# -- parts and sums of data sets -------------------------------------------------------------------


@pytest.mark.parametrize("data_format", FORMATS)
def test_combined_data_sets_keep_their_agents(data_format: str) -> None:
    names = ("one/data-v0", "two/data-v0")
    options: dict[str, Any] = {"data_format": data_format, "episodes": 2}
    own = [
        record("cartpole", agents=agents, dataset_id=name, **options)
        for agents, name in zip(([0, 1], [1, 400]), names, strict=True)
    ]
    both = minari.combine_datasets(own, "both-v0")
    data = read_transitions(both)
    assert data.agent[data.starts].tolist() == [0, 0, 1, 1, 1, 1, 400, 400]
    assert (data.task_name, data.num_agents) == ("cartpole", 500)
    assert describe(both).agents == 3
    sim = PerSim.fit(data, epochs=1, ensemble_size=1, rank=1, progress=False)
    assert sim.task.name == "cartpole"


# -- foreign data sets -----------------------------------------------------------------------------


def foreign(agents: Any, actions: Any, space: Any, dtype: Any = np.float32, **options: Any) -> Any:
    buffers = [
        EpisodeBuffer(
            options={"agent": agent},
            observations=options.get("obs", np.arange(4.0)[:, None]).astype(dtype),
            actions=np.array(actions),
            rewards=np.zeros(3),
            terminations=np.zeros(3, bool),
            truncations=np.arange(3) == 2,
        )
        for agent in agents
    ]
    with pytest.warns(UserWarning, match="None"):
        return minari.create_dataset_from_buffers(
            "foreign-v0", buffers, observation_space=Box(-99, 99, (1,), dtype), action_space=space
        )


@pytest.mark.parametrize(
    ("start", "labels"),
    [(0, None), (1, ("1", "2", "3")), (-1, ("-1", "0", "1")), (-5, ("-5", "-4", "-3"))],
)
def test_actions_are_counted_from_zero(start: int, labels: Any) -> None:
    actions = [start, start + 2, start + 1]
    data = read_transitions(foreign([0, 1], actions, Discrete(3, start=start)))
    assert data.action.tolist() == [0, 2, 1] * 2
    assert data.action_labels == labels
    task = DataTask.from_transitions(data)
    assert task.action_space == Discrete(3)
    assert task.action_labels == labels


@pytest.mark.parametrize(
    ("agents", "indices", "names", "count"),
    [
        ([2, 0, 7], [2, 0, 7], None, 8),
        ([1000, 0, 7], [1000, 0, 7], None, 1001),
        ([10**6 + 3, 10**6, 10**9], [1, 0, 2], ("1000000", "1000003", "1000000000"), 3),
        ([2**63 - 1, 2**62, 5], [2, 1, 0], ("5", str(2**62), str(2**63 - 1)), 3),
    ],
)
def test_agents_far_from_zero_get_names(
    agents: list[int], indices: list[int], names: Any, count: int
) -> None:
    data = read_transitions(foreign(agents, [0, 1, 0], Discrete(2)))
    assert data.agent[data.starts].tolist() == indices
    assert (data.agent_names, data.num_agents) == (names, count)


def test_differences_of_double_precision_are_kept() -> None:
    obs = 19.7 + 2.0 ** -np.arange(0, 80, 20.0)[:, None]
    data = read_transitions(foreign([0], [0, 1, 0], Discrete(2), np.float64, obs=obs))
    np.testing.assert_allclose(data.change(slice(None)), np.diff(obs, axis=0), rtol=1e-6)


# -- paths -----------------------------------------------------------------------------------------


def test_paths_may_begin_at_home_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = record("cartpole", agents=2)
    place = Path(dataset.storage.data_path).parent
    monkeypatch.setenv("HOME", str(place.parent))
    monkeypatch.setenv("USERPROFILE", str(place.parent))
    expected = read_transitions(dataset).sha256()
    for path in (f"~/{place.name}", Path("~") / place.name, str(place), str(place / "data")):
        assert read_transitions(path).sha256() == expected
    monkeypatch.chdir(place.parent)
    relative = read_transitions(place.name)
    monkeypatch.chdir(tmp_path)
    assert relative.sha256() == expected
