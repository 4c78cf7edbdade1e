"""The command that is written down makes the same data again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest

from persim_gym.envs.populations import Population
from persim_gym.offline import EpsilonMixture, FunctionPolicy, recorder
from persim_gym.offline.datasets import CARD, load
from persim_gym.offline.provenance import (
    ARRAYS,
    content_hash,
    count_indices,
    differences,
    list_indices,
    list_to_option,
    parse_indices,
)
from tests.cli.commands import run
from tests.offline.worlds import ID, record


def command(dataset: minari.MinariDataset) -> str:
    text = dataset.storage.metadata[CARD]["command"]
    assert isinstance(text, str)
    return text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "options", "written"),
    [
        ("cartpole", {"agents": 2}, "--agents 2 --seed 0"),
        ("mountain-car", {"agents": 2, "seed": 7}, "--agents 2 --seed 7"),
        ("cartpole", {"agents": [3, 4, 5, 9]}, "--agent 3-5,9"),
        ("cartpole", {"agents": [5]}, "--agent 5-5"),
        ("cartpole", {"agents": [5, 2]}, "--agent 5,2"),
        ("cartpole", {"agents": 2, "episodes": 3}, "--episodes 3"),
        ("half-cheetah", {"agents": 1, "max_episode_steps": 4}, "--max-steps 4"),
        ("cartpole", {"agents": 2, "population": 9}, "--population-size 9"),
        ("cartpole", {"agents": [7], "population": {"seed": 3}}, "--population-seed 3"),
        ("mountain-car", {"agents": 502, "max_episode_steps": 1}, "--agents 502"),
        (
            "cartpole",
            {"agents": 2, "population": {"ranges": {"force": (5, 6), "length": (0.2, 0.25)}}},
            "--ranges force=5.0:6.0 --ranges length=0.2:0.25",
        ),
        ("cartpole", {"agents": 2, "data_format": "arrow"}, "--format arrow"),
        ("cartpole", {"agents": 2, "dataset_id": "my/own-v3"}, "--dataset-id my/own-v3"),
    ],
)
def test_the_command_line_makes_the_same_data_again(
    task: str, options: dict[str, Any], written: str
) -> None:
    dataset = record(task, **options)
    before, line, metadata = content_hash(dataset), command(dataset), dataset.storage.metadata
    assert written in line
    assert f"`{line}`" in metadata["description"]
    minari.delete_dataset(dataset.id)
    words = shlex.split(line)
    assert words[:3] == ["persim-gym", "record", task]
    run(*words[1:])
    again = minari.load_dataset(dataset.id)
    assert content_hash(again) == before
    assert command(again) == line
    assert again.storage.metadata["data_format"] == metadata["data_format"]
    assert again.storage.metadata[CARD] == metadata[CARD]


def test_defaults_are_left_out() -> None:
    line = command(record("cartpole", agents=1))
    assert line == "persim-gym record cartpole --behaviour random --agents 1 --seed 0"


def test_what_has_no_command_line_is_a_call() -> None:
    def push(obs: Any) -> Any:
        return np.ones(len(obs), dtype=int)

    own = Population(("force", "length"), np.array([[3.0, 0.5], [9.0, 0.3]]))
    text = command(
        record(
            "cartpole", push, agents=2, episodes=2, population=own, max_episode_steps=9, seed=4,
            deterministic=False, dataset_id="own-v0", data_format="arrow",
        )
    )  # fmt: skip
    assert text == (
        "persim_gym.offline.record('PerSim-CartPole-v0', policy=push, agents=2, episodes=2, "
        "seed=4, population=dataset.env_spec.kwargs['population'], max_episode_steps=9, "
        "deterministic=False, dataset_id='own-v0', data_format='arrow')"
    )
    text = command(record("cartpole", push, agents=[4], population={"seed": 5}))
    assert text == (
        "persim_gym.offline.record('PerSim-CartPole-v0', policy=push, agents=[4], episodes=1, "
        "seed=0, population={'size': 500, 'seed': 5})"
    )
    # A random policy by its name, but with covariates that no option can tell.
    assert "population=dataset" in command(record("cartpole", agents=2, population=own))


def test_the_call_is_one_that_works() -> None:
    def push(obs: Any) -> Any:
        return np.ones(len(obs), dtype=int)

    own = {"covariates": {"force": [3.0, 9.0]}}
    dataset = record("cartpole", push, agents=2, population=own)
    names = {"call": recorder.record, "push": push, "dataset": dataset}
    arguments = command(dataset).removeprefix("persim_gym.offline.record")
    again = eval(f"call{arguments[:-1]}, overwrite=True, progress=False)", names)
    assert content_hash(again) == content_hash(dataset)


def test_a_command_of_ones_own_is_written_down() -> None:
    dataset = record("cartpole", agents=1, command="make data")
    assert command(dataset) == "make data"
    assert "`make data`" in dataset.storage.metadata["description"]


def test_the_command_does_not_tell_how_it_was_asked_for() -> None:
    plain = command(record("cartpole", agents=2))
    assert command(record("PerSim-CartPole-v0", agents=2, overwrite=True)) == plain
    assert command(record("cartpole", agents=[0, 1], overwrite=True)) == plain
    named = record("cartpole", agents=2, dataset_id="persim/cartpole/random-v0", overwrite=True)
    assert command(named) == plain


@pytest.mark.parametrize(
    ("indices", "text", "option"),
    [
        ([0], "0", "1"),
        ([0, 1, 2], "0-2", "3"),
        ([3], "3", "3-3"),
        ([4, 5, 9, 2, 3], "4-5,9,2-3", "4-5,9,2-3"),
        ([2, 1, 0], "2,1,0", "2,1,0"),
    ],
)
def test_indices_as_text(indices: list[int], text: str, option: str) -> None:
    assert list_indices(indices) == text
    assert parse_indices(text) == indices
    assert count_indices(text) == len(indices)
    assert list_to_option(text) == option


def test_differences_are_named() -> None:
    card = {"task": "a", "behaviour": "b", "seed": 0, "population": {"size": 3}}
    assert differences(card, card) == []
    assert differences({**card, "seed": 1}, card) == ["seed 0 instead of 1"]
    assert differences({"seed": 0}, {}) == []  # an older card, which does not tell
    assert differences({"task": "a"}, {}) == ["task null instead of a"]
    long = differences({"population": {"covariates": list(range(500))}}, card)
    assert len(long) == 1
    assert len(long[0]) < 160


# -- policies that do not fit ----------------------------------------------------------------------


class Made:
    """A policy made for other spaces."""

    name = "made"

    def __init__(self, **spaces: Any) -> None:
        self.__dict__.update(spaces)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("no work before the check")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["observation", "action"])
def test_a_policy_of_another_task_is_refused_before_any_work(
    kind: str, wrapped: bool, root: Any
) -> None:
    from persim_gym.envs.suites import find_suite

    task, other = find_suite("cartpole").task(), find_suite("mountain-car").task()
    spaces = {"observation_space": task.observation_space, "action_space": task.action_space}
    spaces[f"{kind}_space"] = getattr(other, f"{kind}_space")
    policy: Any = Made(**spaces)
    if wrapped:
        policy = EpsilonMixture(EpsilonMixture(policy, 0.1), 0.5, action_space=task.action_space)
    with pytest.raises(ValueError, match=rf"{kind}s are not those of cartpole: it has .* the task"):
        record("cartpole", policy, agents=1)
    assert not any(root.iterdir())


def test_a_policy_that_says_nothing_of_spaces_passes() -> None:
    zero = FunctionPolicy(lambda obs: np.zeros(len(obs), dtype=int))
    assert len(record("cartpole", zero, agents=1)) == 1


def test_the_hash_is_of_the_content_alone() -> None:
    dataset = record(agents=4, episodes=2)
    written = dataset.storage.metadata[CARD]["sha256"]
    assert content_hash(dataset) == content_hash(load(ID)) == written
    renamed = record(agents=4, episodes=2, dataset_id="other/name-v3")
    assert renamed.storage.metadata[CARD]["sha256"] == written
    others: tuple[dict[str, Any], ...] = (
        {"seed": 1}, {"agents": 3}, {"episodes": 1}, {"max_episode_steps": 9}, {"population": 7},
    )  # fmt: skip
    hashes = {written}
    for changes in others:
        changed = record(**{"agents": 4, "episodes": 2, "overwrite": True, **changes})
        hashes.add(changed.storage.metadata[CARD]["sha256"])
    # Agents 0 to 3 are test agents in every population of the default seed: the same data.
    assert len(hashes) == len(others)
    assert changed.storage.metadata[CARD]["sha256"] == written


def test_the_hash_sees_every_array_and_the_seed() -> None:

    def spoil(name: str) -> str:
        dataset = record(agents=2, overwrite=True)
        with h5py.File(dataset.storage.data_path / "main_data.hdf5", "r+") as file:
            if name == "seed":
                file["episode_1"].attrs["seed"] = 1
            elif name == "agent":
                file["episode_1"].attrs["options/agent"] = 7
            else:
                values = file["episode_1"][name]
                values[0] = ~values[0] if values.dtype == bool else values[0] + 1
        return content_hash(load(ID))

    hashes = {spoil(name) for name in (*ARRAYS, "seed", "agent")}
    assert len(hashes) == len(ARRAYS) + 2
    assert record(agents=2, overwrite=True).storage.metadata[CARD]["sha256"] not in hashes


def test_metadata_are_plain_json(root: Path) -> None:
    record(agents=2)
    text = (root / ID / "data" / "metadata.json").read_text()
    card = json.loads(text)[CARD]
    assert card["agents"] == "0-1"
    assert card["command"] == "persim-gym record cartpole --behaviour random --agents 2 --seed 0"
    assert str(root) not in text
