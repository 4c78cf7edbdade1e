"""Data sets on disk: the same bytes again, the same in all formats, whole whatever happens."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest

from persim_gym import files
from persim_gym.envs import find_suite
from persim_gym.files import STALE
from persim_gym.offline import datasets, publishing, recorder
from persim_gym.offline.datasets import CARD, load
from persim_gym.offline.provenance import ARRAYS, content_hash
from tests.offline.worlds import ID, record


def arrays(dataset: minari.MinariDataset) -> list[dict[str, Any]]:
    """Everything that the episodes hold, in their order."""
    about = dataset.storage.get_episode_metadata(dataset.episode_indices)
    episodes = dataset.storage.get_episodes(dataset.episode_indices)
    return [
        {"seed": m["seed"], "agent": int(m["options"]["agent"])} | {n: e[n] for n in ARRAYS}
        for m, e in zip(about, episodes, strict=True)
    ]


def same(one: minari.MinariDataset, other: minari.MinariDataset) -> None:
    both = list(zip(arrays(one), arrays(other), strict=True))
    for first, second in both:
        assert (first["seed"], first["agent"]) == (second["seed"], second["agent"])
        for name in ARRAYS:
            assert first[name].dtype == second[name].dtype
            assert first[name].tobytes() == second[name].tobytes()


def bytes_of(root: Path, dataset_id: str = ID) -> dict[str, str]:
    folder = root / dataset_id / "data"
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def run(code: str, *, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    if status is not None:
        assert done.returncode == status, done.stderr
    return done


def partials(root: Path) -> list[Path]:
    return list(root.rglob("*.partial"))


# -- the same again --------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["mountain-car", "cartpole", "half-cheetah"])
def test_the_same_call_gives_the_same_bytes(task: str, root: Path) -> None:
    name = f"persim/{task}/random-v0"
    once = arrays(record(task, agents=3, max_episode_steps=30, seed=4))
    before = bytes_of(root, name)
    again = arrays(record(task, agents=3, max_episode_steps=30, seed=4, overwrite=True))
    for first, second in zip(once, again, strict=True):
        assert all(np.array_equal(first[key], second[key]) for key in first)
    # Not the arrays alone: the files, metadata and all.
    assert bytes_of(root, name) == before
    assert set(before) == {"main_data.hdf5", "metadata.json"}


@pytest.mark.slow
def test_another_process_gives_the_same_bytes(root: Path) -> None:
    record(agents=5, episodes=2, seed=3)
    before = bytes_of(root)
    run(
        "from persim_gym.offline import record\n"
        "record('cartpole', agents=5, episodes=2, seed=3, overwrite=True)"
    )
    assert bytes_of(root) == before


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
@pytest.mark.parametrize("task", ["mountain-car", "cartpole", "half-cheetah"])
def test_all_formats_hold_the_same(task: str, data_format: str) -> None:
    plain = record(task, agents=3, episodes=2, max_episode_steps=12)
    other = record(
        task, agents=3, episodes=2, max_episode_steps=12, data_format=data_format,
        dataset_id="other-v0",
    )  # fmt: skip
    assert plain.storage.metadata["data_format"] == "hdf5"
    assert other.storage.metadata["data_format"] == data_format
    same(plain, other)
    assert content_hash(other) == plain.storage.metadata[CARD]["sha256"]


def test_a_format_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setitem(datasets.FORMATS, "arrow", "a_library_that_is_not_there")
    with pytest.raises(ImportError, match=r"'arrow'.*pip install 'persim-gym\[arrow\]'"):
        record(agents=1, data_format="arrow")
    assert not any(root.iterdir())


def test_the_place_is_read_when_it_is_used(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(agents=1)
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(elsewhere))
    assert datasets.find(ID) is None
    assert Path(record(agents=2).storage.data_path).is_relative_to(elsewhere)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert len(load(ID)) == 1


# -- kills -----------------------------------------------------------------------------------------

WRITING = """
import os, signal
from minari.dataset._storages.hdf5_storage import HDF5Storage
from persim_gym.offline import record, recorder

recorder.LANES = 2
original, calls = HDF5Storage.update_episodes, iter(range(9))

def update(self, buffers):
    original(self, buffers[:1])  # half of what was to be written
    if next(calls) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, buffers[1:])

HDF5Storage.update_episodes = update
record("cartpole", agents=9, seed=5, overwrite=True)
"""

REPLACING = """
import os, signal
from pathlib import Path
from persim_gym.offline import publishing, record

publishing.exchange = lambda one, other: False  # a system that can replace in two steps only

original = Path.rename

def rename(self, target):
    if self.name.endswith(".partial"):  # the old one has been moved aside, the new one is not there
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, target)

Path.rename = rename
record("cartpole", agents=9, seed=5, overwrite=True)
"""

CLEANING = """
import os, shutil, signal
from persim_gym.offline import datasets, record

def rmtree(path, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)  # the new one is there, the old one not yet away

shutil.rmtree = rmtree
record("cartpole", agents=9, seed=5, overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "replaced"), [(WRITING, False), (REPLACING, False), (CLEANING, True)]
)
def test_a_kill_leaves_one_whole_data_set(code: str, replaced: bool, root: Path) -> None:
    old = content_hash(record(agents=3))
    new = content_hash(record(agents=9, seed=5, dataset_id="new-v0"))
    assert old != new
    assert run(code, status=None).returncode == -signal.SIGKILL
    after = load(ID)
    assert content_hash(after) == (new if replaced else old)
    assert after.storage.metadata[CARD]["sha256"] == content_hash(after)
    assert sorted(minari.list_local_datasets()) == ["new-v0", ID]
    # And the same command after the kill does what it would have done.
    assert content_hash(record(agents=9, seed=5, overwrite=True)) == new
    assert not list(root.rglob("*.old"))


def age(folder: Path, seconds: float) -> None:
    os.utime(folder, (time.time() - seconds,) * 2)


@pytest.mark.slow
def test_remains_of_a_kill_go_away_but_not_those_of_a_running_process(root: Path) -> None:
    assert run(WRITING, status=None).returncode == -signal.SIGKILL
    (killed,) = partials(root)
    with datasets.publishing(ID, overwrite=True) as running:
        assert partials(root) == [running]
        assert not any(running.iterdir()), f"what lay in {killed} is still there"
        # Two at once: the second is refused before any work.
        with pytest.raises(ValueError, match="is being written by another process"):
            record(agents=1, overwrite=True)
        record(agents=1, dataset_id="another-v0")
        assert partials(root) == [running]
        datasets.new_storage(running, find_suite("cartpole").task(), None, "hdf5")
    assert partials(root) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_a_data_set_that_is_replaced_is_always_there(
    at_once: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at in the very moment between the steps of a replacement."""
    old = content_hash(record(agents=2))
    seen: list[str] = []
    rename = Path.rename

    def look(self: Path, target: Path) -> Path:
        there = [name for name in (ID,) if (root / name / "data").is_dir()]
        seen.append(f"{len(there)}")
        return rename(self, target)

    if not at_once:
        monkeypatch.setattr(publishing, "exchange", lambda one, other: False)
        monkeypatch.setattr(publishing, "PATIENCE", 0.0)
    elif not _can_exchange(root):
        pytest.skip("this system cannot exchange folders")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", look)
        new = content_hash(record(agents=3, overwrite=True))
    assert old != new
    # In two steps there is a moment without; readers wait through it (and find it all the same).
    assert ("0" in seen) == (not at_once)
    assert datasets.local_ids() == [ID]
    assert not list(root.rglob("*.old"))


def _can_exchange(root: Path) -> bool:
    one, other = root / "one", root / "other"
    one.mkdir()
    other.mkdir()
    try:
        return publishing.exchange(one, other)
    finally:
        one.rmdir()
        other.rmdir()


@pytest.mark.slow
def test_readers_put_back_what_a_killed_replacement_has_moved_aside(root: Path) -> None:
    record(agents=2)
    record(agents=1, dataset_id="other-v0")
    assert run(REPLACING, status=None).returncode == -signal.SIGKILL
    assert not (root / ID).exists()
    assert datasets.local_ids() == ["other-v0", ID]
    assert len(load(ID)) == 2


def test_remains_without_locks_go_away_after_a_day(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    remains = root / "persim" / "cartpole" / ".random-v0.partial"
    remains.mkdir(parents=True)
    age(remains, STALE - 60)
    with pytest.raises(ValueError, match=r"another process.*delete the folder"):
        record(agents=1)
    age(remains, STALE + 60)
    record(agents=1)
    assert not remains.exists()


# -- a full disk -----------------------------------------------------------------------------------

LIMITED = """
import resource
from persim_gym.offline import record, recorder

recorder.LANES = 4
resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1000,) * 2)
try:
    record("half-cheetah", agents=12, max_episode_steps=100, seed=1, overwrite=True,
           data_format="{data_format}")
except OSError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("data_format", "kilobytes"), [("hdf5", 50), ("hdf5", 300), ("arrow", 50)])
def test_no_room_is_one_clear_line(data_format: str, kilobytes: int, root: Path) -> None:
    """Real limits on a file's size, in the first batch and in a later one."""
    name = "persim/half-cheetah/random-v0"
    old = content_hash(record("half-cheetah", agents=2, max_episode_steps=20))
    done = run(LIMITED.format(kilobytes=kilobytes, data_format=data_format))
    assert done.stderr == ""
    assert done.stdout.startswith(f"there is no room for data set {name!r}")
    assert "MINARI_DATASETS_PATH" in done.stdout
    assert content_hash(load(name)) == old
    assert partials(root) == []
    done = run(LIMITED.format(kilobytes=5000, data_format=data_format))
    assert done.stdout == done.stderr == ""
    assert len(load(name)) == 12


def test_room_is_asked_for_before_every_batch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the size that the file has by then, and with more than it then grows by."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(recorder, "LANES", 3)
    monkeypatch.setattr(os, "posix_fallocate", lambda fd, *room: asked.append(room), raising=False)
    record("mountain-car", agents=7, max_episode_steps=50)
    assert len(asked) == 3
    size = (root / "persim/mountain-car/random-v0/data/main_data.hdf5").stat().st_size
    sizes = [written for written, _ in asked] + [size]
    assert sizes[0] == 0
    for (_, needed), grown in zip(asked, np.diff(sizes).tolist(), strict=True):
        assert 0 < grown <= needed


def test_a_platform_without_reservation_looks_at_the_free_space(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    record(agents=2)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="no room for data set"):
        record(agents=2, overwrite=True, seed=9)
    assert len(load(ID)) == 2


def test_a_file_system_that_cannot_tell_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def cannot(*args: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    assert len(record(agents=2)) == 2
