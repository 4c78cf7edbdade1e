"""An episode's columns, past Minari where the layout of its files is known."""

from __future__ import annotations

from pathlib import Path

import h5py
import minari
import numpy as np
import pytest

from persim_gym.offline import storages
from persim_gym.offline.storages import Steps, stored_infos, stored_steps
from tests.offline.worlds import record

FORMATS = ["hdf5", "arrow", "parquet"]


def dataset(data_format: str, task: str = "cartpole") -> minari.MinariDataset:
    return record(task, agents=3, episodes=2, max_episode_steps=6, data_format=data_format)


def same(one: Steps, other: Steps) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("task", ["cartpole", "half-cheetah"])
@pytest.mark.parametrize("data_format", FORMATS)
def test_columns_are_those_that_minari_reads(data_format: str, task: str) -> None:
    own = dataset(data_format, task)
    found = list(stored_steps(own))
    assert len(found) == 6
    for steps, episode in zip(found, own, strict=True):
        theirs = (getattr(episode, name) for name in Steps._fields)
        same(steps, Steps(*theirs))
        assert len(steps.observations) == len(steps.rewards) + 1


def test_any_other_storage_is_read_through_minari(monkeypatch: pytest.MonkeyPatch) -> None:
    own = dataset("hdf5")
    expected = list(stored_steps(own))
    monkeypatch.setattr(type(own.storage), "FORMAT", "of somebody else", raising=False)
    for one, other in zip(stored_steps(own), expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("data_format", FORMATS)
def test_infos_stand_under_their_key(data_format: str) -> None:
    own = dataset(data_format)
    agents = stored_infos(own, "agent", [0, 3])
    assert [np.unique(found).tolist() for found in agents] == [[0], [1]]
    assert stored_infos(own, "nothing", [0, 3]) == [None, None]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    own = dataset("hdf5")
    with h5py.File(Path(own.storage.data_path) / "main_data.hdf5", "r+") as file:
        del file["episode_1"]["rewards"]
    steps = stored_steps(own)
    next(steps)
    with pytest.raises(KeyError, match="rewards"):
        next(steps)
    with pytest.raises(KeyError, match="episode_99"):
        stored_infos(own, "agent", [99])


def test_an_array_that_is_larger_than_its_file_can_be_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = dataset("hdf5")
    monkeypatch.setattr(storages, "DEFLATED", 1e-6)
    with pytest.raises(OSError, match=r"an array of \d+ bytes"):
        next(stored_steps(own))


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
def test_a_file_that_arrow_cannot_read_is_damaged(data_format: str) -> None:
    own = dataset(data_format)
    for file in (Path(own.storage.data_path) / "0").glob(f"*.{data_format}"):
        file.write_bytes(b"nonsense")
    with pytest.raises(OSError, match=r"."):
        next(stored_steps(own))
