"""Data sets read as transitions, found, and described."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from persim_gym.offline import Transitions, read_transitions
from persim_gym.offline.datasets import load, open_dataset
from tests.offline.worlds import ID, foreign, record


def same(one: Transitions, other: Transitions) -> None:
    assert one.sha256() == other.sha256()
    for name in ("reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.num_agents, one.task_name) == (other.num_agents, other.task_name)


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["mountain-car", "cartpole", "half-cheetah"])
def test_transitions_are_the_episodes_one_after_the_other(task: str) -> None:
    dataset = record(task, agents=[4, 0, 7], episodes=2, max_episode_steps=25)
    data = read_transitions(dataset)
    assert (data.task_name, data.dataset_id, data.num_agents) == (task, dataset.id, 500)
    assert data.obs.dtype == data.next_obs.dtype == np.float32
    assert data.action.dtype == (np.float32 if task == "half-cheetah" else np.int64)
    assert data.agent.dtype == data.episode.dtype == np.int64
    assert data.lengths.tolist() == [len(episode) for episode in dataset]
    assert data.agent[data.starts].tolist() == [4, 4, 0, 0, 7, 7]
    first = 0
    for number, episode in enumerate(dataset):
        rows = slice(first, first + len(episode))
        np.testing.assert_array_equal(data.obs[rows], episode.observations[:-1])
        np.testing.assert_array_equal(data.next_obs[rows], episode.observations[1:])
        np.testing.assert_array_equal(data.action[rows], episode.actions)
        np.testing.assert_array_equal(data.reward[rows], episode.rewards)
        np.testing.assert_array_equal(data.terminated[rows], episode.terminations)
        np.testing.assert_array_equal(data.truncated[rows], episode.truncations)
        assert (data.episode[rows] == number).all()
        first += len(episode)
    assert len(data) == first == dataset.total_steps


def test_nothing_crosses_an_episode_and_the_terminal_transition_is_there() -> None:
    dataset = record("cartpole", agents=6, episodes=2)
    data = read_transitions(dataset)
    task = load(ID).recover_environment().unwrapped.task
    inside = data.episode[1:] == data.episode[:-1]
    np.testing.assert_array_equal(data.next_obs[:-1][inside], data.obs[1:][inside])
    crossing = (data.next_obs[:-1][~inside] == data.obs[1:][~inside]).all(axis=1)
    assert not crossing.any()
    assert not (data.agent[1:] != data.agent[:-1])[inside].any()
    # These episodes all end in a fall: it is data, and nothing comes after it.
    last = data.starts + data.lengths - 1
    assert np.flatnonzero(data.terminated).tolist() == last.tolist()
    assert task.terminated(data.next_obs[last]).all()
    assert not task.terminated(data.obs).any()
    assert not data.truncated.any()


def test_every_way_to_name_a_data_set(root: Path) -> None:
    dataset = record("cartpole", agents=3)
    data = read_transitions(dataset)
    place = root / "persim" / "cartpole" / "random-v0"
    for named in (ID, place, place / "data"):
        same(read_transitions(named), data)
    moved = root.parent / "elsewhere"
    shutil.move(place, moved)
    same(read_transitions(moved), data)


def test_all_formats_of_minari_read_the_same() -> None:
    pytest.importorskip("pyarrow")
    data = read_transitions(record("half-cheetah", agents=3, max_episode_steps=6))
    for data_format in ("arrow", "parquet"):
        other = record(
            "half-cheetah", agents=3, max_episode_steps=6, data_format=data_format, overwrite=True
        )
        same(read_transitions(other), data)


def test_a_part_of_a_data_set() -> None:
    dataset = record("cartpole", agents=8)
    data = read_transitions(dataset)
    long = dataset.filter_episodes(lambda episode: len(episode) > 20)
    kept = np.flatnonzero(data.lengths > 20)
    assert 0 < len(kept) < 8
    part = read_transitions(long)
    rows = np.isin(data.episode, kept)
    np.testing.assert_array_equal(part.obs, data.obs[rows])
    np.testing.assert_array_equal(part.agent, data.agent[rows])
    assert part.episode.max() == len(kept) - 1
    # Minari's split shuffles: episodes come in its order.
    first, second = minari.split_dataset(dataset, [5, 3], seed=1)
    order = second.episode_indices.tolist()
    assert order != sorted(order)
    shuffled = read_transitions(second)
    assert shuffled.agent[shuffled.starts].tolist() == order
    assert shuffled.lengths.tolist() == data.lengths[order].tolist()
    assert len(read_transitions(first)) + len(shuffled) == len(data)


def test_a_part_without_episodes_is_refused() -> None:
    nothing = record("cartpole", agents=2).filter_episodes(lambda episode: False)
    with pytest.raises(ValueError, match="no episodes"):
        read_transitions(nothing)


# -- how many agents there are, and which is which -------------------------------------------------


@pytest.mark.parametrize(
    ("population", "size"), [(None, 500), (9, 9), ({"size": 12, "seed": 3}, 12)], ids=str
)
def test_the_number_of_agents_is_the_populations(population: Any, size: int) -> None:
    dataset = record("cartpole", agents=[1, 2], population=population)
    assert read_transitions(dataset).num_agents == size


def test_an_environment_of_one_agent() -> None:
    env = gym.make("PerSim-CartPole-v0", covariates={"force": 3.0})
    data = read_transitions(foreign(env, "one-v0", [{"agent": 0}]))
    assert (data.num_agents, data.task_name) == (1, "cartpole")


def test_another_librarys_data_set() -> None:
    dataset = foreign("CartPole-v1", "other-v0", [{"agent": 4}, {"agent": 2}])
    data = read_transitions(dataset)
    assert (data.num_agents, data.task_name, data.dataset_id) == (5, "CartPole-v1", "other-v0")
    assert data.agent.tolist() == [4, 4, 2, 2]


def test_agents_that_are_not_named_must_be_given() -> None:
    dataset = foreign("PerSim-CartPole-v0", "silent-v0", [None, None, None])
    with pytest.raises(ValueError, match=r"episode 0 of data set 'silent-v0'.*agent_of="):
        read_transitions(dataset)
    for agent_of in (lambda episode: 10 - episode, {0: 10, 1: 9, 2: np.int64(8)}):
        assert read_transitions(dataset, agent_of=agent_of).agent.tolist() == [10, 10, 9, 9, 8, 8]
    part = dataset.filter_episodes(lambda episode: episode.id != 1)
    assert read_transitions(part, agent_of={0: 3, 2: 5}).agent.tolist() == [3, 3, 5, 5]


def test_agent_of_comes_before_the_options() -> None:
    dataset = record("cartpole", agents=2)
    data = read_transitions(dataset, agent_of=lambda episode: 7)
    assert set(data.agent.tolist()) == {7}


@pytest.mark.parametrize(
    ("agent_of", "words"),
    [
        ({0: 1}, "no agent for episode 1"),
        ({0: 1, 1: -1}, "episode 1 must be an integer from 0 on, got -1"),
        ({0: 1.5, 1: 1}, "episode 0 must be an integer"),
        ({0: True, 1: 1}, "got True"),
        ({0: 1, 1: 500}, "0 to 499"),
    ],
)
def test_agents_that_do_not_exist_are_refused(agent_of: Any, words: str) -> None:
    dataset = foreign("PerSim-CartPole-v0", "silent-v0", [None, None])
    with pytest.raises(ValueError, match=words):
        read_transitions(dataset, agent_of=agent_of)


# -- what cannot be read ---------------------------------------------------------------------------


def test_an_unknown_id_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"'persim/cartpole/pure-v0', nor any other.*record"):
        read_transitions("persim/cartpole/pure-v0")
    record("cartpole", agents=1)
    record("mountain-car", agents=1, max_episode_steps=1)
    record("cartpole", agents=1, dataset_id="mine-v0")
    for unknown in ("persim/cartpole/pure-v0", "nonsense", "persim/cartpole"):
        with pytest.raises(
            ValueError, match="there are persim/cartpole/random-v0, persim/m"
        ) as caught:
            read_transitions(unknown)
        assert "mine-v0" not in str(caught.value)


def test_a_folder_without_a_data_set(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Minari data set"):
        read_transitions(root)


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="got 5"):
        open_dataset(5)  # type: ignore[arg-type]


def test_a_truncated_file_is_refused() -> None:
    file = record("cartpole", agents=5).storage.data_path / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"random-v0.*damaged; record it again"):
        read_transitions(ID)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda group: group["rewards"].resize(1, axis=0), "episode 1 .* damaged: .* 1 rewards"),
        (lambda group: group["observations"].resize(3, axis=0), "3 observations"),
        (lambda group: group.pop("actions"), "damaged"),
    ],
)
def test_an_episode_with_missing_rows_is_refused(damage: Any, words: str) -> None:
    dataset = record("cartpole", agents=2)
    with h5py.File(dataset.storage.data_path / "main_data.hdf5", "r+") as file:
        damage(file["episode_1"])
    with pytest.raises(ValueError, match=words):
        read_transitions(ID)


def test_a_data_set_of_a_later_minari_says_so() -> None:
    path = record("cartpole", agents=1).storage.data_path / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "minari_version": "99.0"}))
    with pytest.raises(ValueError, match=r"99\.0"):
        load(ID)


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        ({"observation_space": gym.spaces.Box(-1, 1, (2, 2))}, "flat"),
        ({"action_space": gym.spaces.MultiBinary(2)}, "Discrete or a Box"),
    ],
)
def test_spaces_that_are_no_transitions_are_refused(spaces: dict[str, Any], words: str) -> None:
    both = {
        "observation_space": gym.spaces.Box(-1, 1, (2,)),
        "action_space": gym.spaces.Discrete(2),
    }
    both |= spaces
    seen, acted = both["observation_space"].sample(), both["action_space"].sample()
    flags = np.array([False])
    buffer = EpisodeBuffer(
        options={"agent": 0},
        observations=np.stack([seen, seen]),
        actions=np.array([acted]),
        rewards=np.array([0.0]),
        terminations=flags,
        truncations=~flags,
    )
    with pytest.warns(UserWarning, match="None"):
        dataset = minari.create_dataset_from_buffers("odd-v0", [buffer], **both)
    with pytest.raises(ValueError, match=words):
        read_transitions(dataset)
