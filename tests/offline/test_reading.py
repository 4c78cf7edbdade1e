"""Minari data sets that this package did not record: other spaces, other names, other agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from minari.data_collector import EpisodeBuffer

from persim_gym.offline import read_transitions
from persim_gym.offline.reading import number_agents

FORMATS = ("hdf5", "arrow", "parquet")
LENGTHS = (3, 1, 2)


def box(width: int, dtype: Any = np.float32) -> Box:
    return Box(-9999, 9999, (width,), dtype)


def wards(
    dataset_id: str = "wards-v0",
    options: Any = (None, None, None),
    infos: Any = (None, None, None),
    dtype: Any = np.float64,
    actions: Any = None,
    **kwargs: Any,
) -> minari.MinariDataset:
    """Three episodes without an environment; observations are (episode, time)."""
    discrete = actions is None
    buffers = []
    for number, length in enumerate(LENGTHS):
        time = np.arange(length + 1)
        ended = time[1:] == length
        buffers.append(
            EpisodeBuffer(
                options=options[number],
                infos=infos[number] or {},
                observations=np.stack([np.full(length + 1, number), time], axis=1).astype(dtype),
                actions=time[:-1] % 2 if discrete else actions[:length],
                rewards=0.1 * time[:-1],
                terminations=ended & (number == 1),
                truncations=ended & (number != 1),
            )
        )
    with pytest.warns(UserWarning, match="None"):
        return minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            observation_space=box(2, dtype),
            action_space=Discrete(2) if discrete else box(actions.shape[1], actions.dtype),
            **kwargs,
        )


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_a_data_set_without_an_environment(data_format: str, dtype: Any) -> None:
    dataset = wards(dtype=dtype, data_format=data_format)
    data = read_transitions(dataset, agent_of={0: 0, 1: 1, 2: 0})
    assert (data.task_name, data.num_agents, data.population) == ("", 2, None)
    assert data.obs.dtype == data.next_obs.dtype == np.float32
    assert data.obs.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [2, 1]]
    assert data.next_obs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [2, 1], [2, 2]]
    assert data.action.tolist() == [0, 1, 0, 0, 0, 1]
    assert data.action.dtype == np.int64
    np.testing.assert_array_equal(data.reward, [0, 0.1, 0.2, 0, 0, 0.1])
    assert data.terminated.tolist() == [False, False, False, True, False, False]
    assert data.truncated.tolist() == [False, False, True, False, False, True]
    assert data.episode.tolist() == [0, 0, 0, 1, 2, 2]
    assert data.obs_names is data.agent_names is None


@pytest.mark.parametrize("data_format", FORMATS)
def test_continuous_actions_of_another_precision(data_format: str) -> None:
    actions = np.array([[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]])
    data = read_transitions(wards(actions=actions, data_format=data_format), agent_of=lambda _: 0)
    assert data.action.dtype == np.float32
    np.testing.assert_array_equal(data.action, actions.astype(np.float32)[[0, 1, 2, 0, 0, 1]])


NESTED = Dict(
    {
        "vitals": Dict({"pulse": Box(0, 300, ()), "pressure": Box(0, 300, (2,))}),
        "age": Box(0, 120, (1,), np.float64),
        "scan": Box(-1, 1, (2, 2)),
    }
)


def nested(time: Any) -> Any:
    """An observation of the nested space, or a column of them."""
    time = np.asarray(time, np.float32)
    return {
        "vitals": {"pulse": 60 + time, "pressure": np.stack([80 + time, 120 + time], axis=-1)},
        "age": np.full((*time.shape, 1), 30.0),
        "scan": 0.01 * np.ones((2, 2), np.float32) * time[..., None, None],
    }


@pytest.mark.parametrize("data_format", FORMATS)
def test_boxes_in_a_dictionary_stand_beside_each_other(data_format: str) -> None:
    buffers = [
        EpisodeBuffer(
            options={"agent": name},
            observations=nested(np.arange(4)),
            actions=np.zeros((3, 1), np.float32),
            rewards=np.ones(3),
            terminations=np.zeros(3, bool),
            truncations=np.arange(3) == 2,
        )
        for name in ("p10", "p2")
    ]
    with pytest.warns(UserWarning, match="None"):
        dataset = minari.create_dataset_from_buffers(
            "nested-v0",
            buffers,
            observation_space=NESTED,
            action_space=Box(-1, 1, (1,)),
            data_format=data_format,
        )
    data = read_transitions(dataset)
    assert data.obs_names is not None
    assert set(data.obs_names) == {
        *("vitals.pulse", "vitals.pressure[0]", "vitals.pressure[1]", "age"),
        *("scan[0,0]", "scan[0,1]", "scan[1,0]", "scan[1,1]"),
    }
    column = dict(zip(data.obs_names, data.next_obs.T, strict=True))
    assert column["vitals.pulse"].tolist() == [61, 62, 63] * 2
    assert column["vitals.pressure[1]"].tolist() == [121, 122, 123] * 2
    assert column["age"].tolist() == [30] * 6
    for time in range(3):
        flat = gym.spaces.flatten(dataset.observation_space, nested(time))
        np.testing.assert_array_equal(data.obs[time], flat.astype(np.float32))


@pytest.mark.parametrize(
    "space",
    [Dict({"a": box(2), "b": Discrete(3)}), Tuple([box(2)]), Discrete(4), Box(0, 1, (2, 2))],
    ids=str,
)
def test_other_observations_are_refused(space: gym.Space[Any]) -> None:
    dataset = wards()
    file = dataset.storage.data_path / "metadata.json"
    said = json.loads(file.read_text())
    said["observation_space"] = minari.serialization.serialize_space(space)
    file.write_text(json.dumps(said))
    with pytest.raises(ValueError, match="a Box of one dimension or a Dict of boxes"):
        read_transitions("wards-v0", agent_of=lambda _: 0)


# -- whose an episode is ---------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("names", "agents", "sorted_names"),
    [
        (("p10", "p9", "p10"), [1, 0, 1], ("p9", "p10")),
        ((4, 1, 0), [4, 1, 0], None),
    ],
)
def test_agents_in_options_infos_mappings_and_functions(
    data_format: str, names: Any, agents: list[int], sorted_names: Any
) -> None:
    over_time = [{"who": [name] * (n + 1)} for name, n in zip(names, LENGTHS, strict=True)]
    in_infos = wards(infos=over_time, data_format=data_format)
    in_options = wards("asked-v0", [{"who": name} for name in names], data_format=data_format)
    by_default = wards("plain-v0", [{"agent": name} for name in names], data_format=data_format)
    for data in (
        read_transitions(in_infos, agent_of="who"),
        read_transitions(in_options, agent_of="who"),
        read_transitions(by_default),
        read_transitions(in_infos, agent_of=dict(enumerate(names))),
        read_transitions(in_infos, agent_of=lambda episode: names[episode]),
    ):
        assert data.agent[data.starts].tolist() == agents
        assert data.agent_names == sorted_names
        assert data.num_agents == max(agents) + 1


def test_options_come_before_infos_and_infos_fill_in() -> None:
    infos = [{"agent": np.full(n + 1, 7)} for n in LENGTHS]
    data = read_transitions(wards(options=[{"agent": 2}, None, {"other": 1}], infos=infos))
    assert data.agent[data.starts].tolist() == [2, 7, 7]


def test_names_of_a_part_are_the_parts() -> None:
    dataset = wards(options=[{"agent": name} for name in "cab"])
    assert read_transitions(dataset).agent_names == ("a", "b", "c")
    part = read_transitions(dataset.filter_episodes(lambda episode: episode.id != 1))
    assert (part.agent_names, part.num_agents) == (("b", "c"), 2)
    assert part.agent.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("options", "infos", "words"),
    [
        ((1, "a", 2), (None,) * 3, "all integers or all strings, got 1 and 'a'"),
        (("", "a", "b"), (None,) * 3, "episode 0 must be an integer from 0 on, got ''"),
        ((0, 1.5, 2), (None,) * 3, "episode 1 must be an integer from 0 on, got"),
        ((0, 1, None), ([0] * 4, [0] * 2, [0, 0, 1]), r"episode 2 .* must be one agent.*0, 0, 1"),
        ((0, None, None), ([0] * 4, [0] * 2, None), "episode 2 .* neither in its reset options"),
        ((0, None, 0), (None, np.zeros((2, 2)), None), "episode 1 .* must be one agent"),
    ],
)
def test_agents_that_are_no_agents_are_refused(options: Any, infos: Any, words: str) -> None:
    dataset = wards(
        options=[None if agent is None else {"agent": agent} for agent in options],
        infos=[None if values is None else {"agent": values} for values in infos],
    )
    with pytest.raises(ValueError, match=words):
        read_transitions(dataset)


def test_an_agent_of_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="got 3"):
        read_transitions(wards(), agent_of=3)  # type: ignore[arg-type]


def test_names_are_numbered_in_natural_order() -> None:
    assert number_agents(["p10", "p9"])[1] == ("p9", "p10")


# -- damage ----------------------------------------------------------------------------------------


def not_finite(file: h5py.File) -> None:
    file["episode_2/observations"][1, 1] = np.nan


def too_large(file: h5py.File) -> None:
    file["episode_2/observations"][1, 1] = 1e200


def one_row_more(file: h5py.File) -> None:
    file["episode_2/truncations"].resize(3, axis=0)


def without_length(file: h5py.File) -> None:
    del file["episode_2"].attrs["total_steps"]


def another_width(file: h5py.File) -> None:
    del file["episode_2/observations"]
    file["episode_2/observations"] = np.zeros((3, 5))


def words_for_actions(file: h5py.File) -> None:
    del file["episode_2/actions"]
    file["episode_2/actions"] = np.array([0.5, 1.0])


def no_episode(file: h5py.File) -> None:
    del file["episode_2"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (not_finite, r"next_obs of transition 4 \(agent 0, episode 2\) is not finite|obs of tr"),
        (too_large, r"obs of transition 5 \(agent 0, episode 2\) is not finite: \[2.0, inf\]"),
        (one_row_more, "episode 2 .* is damaged: 2 steps, 3 observations, .* 3 truncations"),
        (without_length, "total_steps.*is damaged; record it again"),
        (another_width, "episode 2 .* is damaged: observations of 5 numbers"),
        (words_for_actions, "episode 2 .* has actions of type float64"),
        (no_episode, "is damaged; record it again"),
    ],
)
def test_damage_is_said_and_where(damage: Any, words: str) -> None:
    dataset = wards()
    with h5py.File(dataset.storage.data_path / "main_data.hdf5", "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=words):
        read_transitions(dataset, agent_of=lambda _: 0)


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
def test_a_damaged_arrow_file_is_refused(data_format: str) -> None:
    dataset = wards(data_format=data_format)
    folder = Path(dataset.storage.data_path)
    (file,) = (folder / "1").glob(f"*.{data_format}")
    content = file.read_bytes()
    for broken in (content[: len(content) // 2], b""):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="is damaged; record it again"):
            read_transitions(dataset, agent_of=lambda _: 0)
    file.unlink()
    with pytest.raises(ValueError, match="is damaged; record it again"):
        read_transitions(dataset, agent_of=lambda _: 0)
