"""Data sets that were altered or damaged: seen when they are read, shown, and deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from minari import MinariDataset

from persim_gym.offline import datasets, integrity, read_transitions, record, summaries
from persim_gym.offline.provenance import ContentHash, content_hash
from persim_gym.offline.storages import stored_steps
from tests.cli.commands import invoke
from tests.offline.worlds import ID


@pytest.fixture
def dataset(root: Path) -> MinariDataset:
    return record("cartpole", agents=3, episodes=2, max_episode_steps=12, progress=False)


@pytest.mark.slow
def test_a_turned_bit_is_seen_or_makes_no_difference(dataset: MinariDataset) -> None:
    file = Path(dataset.storage.data_path) / "main_data.hdf5"
    content, good = file.read_bytes(), read_transitions(dataset)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(content), 120).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(flipped)
        try:
            read = read_transitions(ID)
        except ValueError:
            refused += 1
            continue
        assert read.sha256() == good.sha256()
        assert np.array_equal(read.reward, good.reward)
        assert np.array_equal(read.terminated, good.terminated)
    assert refused > 5


@pytest.mark.parametrize("data_format", ["hdf5", "arrow", "parquet"])
def test_the_hash_of_what_is_read_is_that_of_what_was_recorded(data_format: str) -> None:
    for task in ("mountain-car", "half-cheetah"):
        own = record(task, agents=2, max_episode_steps=5, data_format=data_format, progress=False)
        digest = ContentHash()
        about = own.storage.get_episode_metadata(own.episode_indices)
        for entry, steps in zip(about, stored_steps(own), strict=True):
            digest.update(entry["seed"], entry["options"], steps)
        written = own.storage.metadata[datasets.CARD]["sha256"]
        assert digest.hexdigest() == written == content_hash(own)
        read_transitions(own)


def alter(dataset: MinariDataset, episode: int = 0, name: str = "rewards") -> None:
    with h5py.File(Path(dataset.storage.data_path) / "main_data.hdf5", "r+") as file:
        values = file[f"episode_{episode}"][name]
        values[0] = ~values[0] if values.dtype == bool else values[0] + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rewards", "actions", "observations", "terminations"])
def test_altered_data_are_refused_unless_they_are_wanted(dataset: MinariDataset, name: str) -> None:
    good = read_transitions(ID)
    alter(dataset, 5, name)
    for data in (ID, dataset, Path(dataset.storage.data_path)):
        with pytest.raises(ValueError, match=r"was altered after it was recorded.*verify=False"):
            read_transitions(data)
    # A part of it too, of which the altered episode is none.
    part = dataset.filter_episodes(lambda episode: episode.id < 2)
    with pytest.raises(ValueError, match="was altered"):
        read_transitions(part)
    read = read_transitions(ID, verify=False)
    assert len(read) == len(good)
    assert invoke("datasets", "show", ID).exit_code == 0
    assert invoke("fit", ID, "--out", "never").exit_code == 2


def test_files_are_hashed_once(dataset: MinariDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    update = ContentHash.update

    def counting(self: ContentHash, *args: Any) -> None:
        counted.append(1)
        update(self, *args)

    monkeypatch.setattr(ContentHash, "update", counting)
    first = read_transitions(ID)
    assert len(counted) == 6
    assert read_transitions(ID).sha256() == first.sha256()
    read_transitions(dataset.filter_episodes(lambda episode: episode.id < 2))
    assert len(counted) == 6
    os.utime(Path(dataset.storage.data_path) / "main_data.hdf5")
    read_transitions(ID)
    assert len(counted) == 12


def test_what_was_added_later_passes_and_what_is_gone_does_not(dataset: MinariDataset) -> None:
    (episode,) = dataset.storage.get_episodes([0])
    buffer = datasets_buffer(episode)
    dataset.storage.update_episodes([buffer])
    assert len(read_transitions(ID).starts) == 7
    alter(dataset, 6)
    read_transitions(ID)
    change(dataset, total_episodes=5)
    with pytest.raises(ValueError, match="number of episodes does not fit"):
        read_transitions(ID)


def datasets_buffer(episode: dict[str, Any]) -> Any:
    from minari.data_collector import EpisodeBuffer

    names = ("observations", "actions", "rewards", "terminations", "truncations")
    return EpisodeBuffer(options={"agent": 1}, **{name: episode[name] for name in names})


def change(dataset: MinariDataset, **values: Any) -> None:
    file = Path(dataset.storage.data_path) / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_altered_metadata_are_seen(dataset: MinariDataset) -> None:
    raw = json.loads((Path(dataset.storage.data_path) / "metadata.json").read_text())
    limit = '"max_episode_steps": {}'
    assert limit.format(12) in raw["env_spec"]
    change(dataset, env_spec=raw["env_spec"].replace(limit.format(12), limit.format(13)))
    with pytest.raises(ValueError, match="its metadata does not fit"):
        read_transitions(ID)
    change(dataset, env_spec=raw["env_spec"], description="what one likes")
    read_transitions(ID)
    # As older versions wrote it.
    card = {key: value for key, value in raw[datasets.CARD].items() if key != integrity.ABOUT}
    change(dataset, **{datasets.CARD: card})
    read_transitions(ID)


SHAPES: dict[str, Any] = {
    "cut off": lambda raw: json.dumps(raw)[:40],
    "empty": lambda raw: "",
    "a list": lambda raw: "[]",
    "a number": lambda raw: "3",
    "nested": lambda raw: "[" * 100_000,
    "no keys": lambda raw: "{}",
    "no episodes": lambda raw: json.dumps({**raw, "total_episodes": None}),
    "fewer than none": lambda raw: json.dumps({**raw, "total_episodes": -1}),
    "no spec": lambda raw: json.dumps({**raw, "env_spec": "{"}),
    "no space": lambda raw: json.dumps({**raw, "action_space": '{"type": "Cube"}'}),
    "no format": lambda raw: json.dumps({**raw, "data_format": 3}),
    "a card of words": lambda raw: json.dumps({**raw, datasets.CARD: "x"}),
    "a summary of words": lambda raw: json.dumps({**raw, datasets.CARD: {"summary": "x"}}),
    "a summary of lists": lambda raw: json.dumps(
        {**raw, datasets.CARD: {"summary": {"agents": [], "episodes": 6, "mean_return": 1.0}}}
    ),
    "half a summary": lambda raw: json.dumps({**raw, datasets.CARD: {"summary": {"episodes": 6}}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_damaged_metadata_are_said_listed_and_deleted(shape: str, dataset: MinariDataset) -> None:
    record("cartpole", agents=1, dataset_id="other-v0", progress=False)
    file = Path(dataset.storage.data_path) / "metadata.json"
    file.write_text(SHAPES[shape](json.loads(file.read_text())))
    for read in (datasets.load, read_transitions, summaries.describe):
        with pytest.raises(ValueError, match=r"metadata of the data set in .*datasets delete"):
            read(ID)
    shown = invoke("datasets", "show", ID)
    assert shown.exit_code == 2
    assert len(shown.stderr.splitlines()) == 1
    listed = invoke("datasets", "list")
    assert listed.exit_code == 0
    assert "other-v0" in listed.stdout
    assert "damaged" in listed.stdout
    found = json.loads(invoke("datasets", "list", "--json").stdout)
    assert [(entry["id"], bool(entry["damage"])) for entry in found] == [
        ("other-v0", False), (ID, True),
    ]  # fmt: skip
    # And it can be replaced, or deleted.
    if shape == "cut off":
        record("cartpole", agents=1, overwrite=True, progress=False)
        file.write_text("")
    assert invoke("datasets", "delete", ID, "--yes").exit_code == 0
    assert datasets.local_ids() == ["other-v0"]


def test_a_set_without_metadata_or_with_a_pipe_for_it(dataset: MinariDataset) -> None:
    file = Path(dataset.storage.data_path) / "metadata.json"
    file.unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        datasets.load(ID)
    if hasattr(os, "mkfifo"):
        os.mkfifo(file)
        with pytest.raises(ValueError, match="there is no such file"):
            datasets.load(ID)
    datasets.delete(ID)
    assert datasets.local_ids() == []


@pytest.mark.slow
def test_what_steers_a_terminal_is_shown_as_an_escape(dataset: MinariDataset) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202eabc\x9b1m"
    raw = json.loads((Path(dataset.storage.data_path) / "metadata.json").read_text())
    card = {**raw[datasets.CARD], "behaviour": evil, "command": evil, "seed": evil}
    card.pop(integrity.ABOUT)
    change(dataset, author=[evil], requirements=[evil], **{datasets.CARD: card})
    for args in (["show", ID], ["show", ID, "--json"], ["list"], ["list", "--json"]):
        done = invoke("datasets", *args)
        assert done.exit_code == 0, done.output
        assert all(line.isprintable() for line in done.output.split("\n"))
    assert json.loads(invoke("datasets", "show", ID, "--json").stdout)["behaviour"] == evil
    missing = invoke("datasets", "show", f"persim/{evil}-v0")
    assert missing.exit_code == 2
    assert missing.output.rstrip("\n").isprintable()
