"""Minari data sets on this machine: found, described, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset._storages import get_minari_storage, get_storage_keys
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage import get_dataset_path

from persim_gym.core import Task
from persim_gym.envs.suites import Suite, find_suite

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Key of this package's own entry in a data set's metadata.
CARD = "persim_gym"
NAMESPACE = "persim"

#: Seconds after which the remains of a killed recording are taken away by the next one: where one
#: can see that nobody holds them, and where one cannot.
SETTLED, STALE = 60.0, 24 * 3600.0


# -- opening ---------------------------------------------------------------------------------------


def open_dataset(data: MinariDataset | str | Path) -> MinariDataset:
    """A Minari data set from the data set itself, a local id, or a folder that holds one.

    Raises:
        FileNotFoundError: If there is none in the folder.
        TypeError: If ``data`` is none of these.
        ValueError: If there is no local data set of the id.
    """
    if isinstance(data, MinariDataset):
        return data
    if isinstance(data, str):
        there = find(data)
        folder = Path(data).expanduser()
        if there is not None or not folder.is_dir():
            return there or load(data)
        data = folder
    if not isinstance(data, Path):
        raise TypeError(
            f"a Minari data set, the id of a local one or its folder is needed, got {data!r}"
        )
    data = data.expanduser().absolute()
    for folder in (data, data / "data"):
        if (folder / "metadata.json").is_file():
            return MinariDataset(folder)
    raise FileNotFoundError(f"there is no Minari data set in {data}")


def load(dataset_id: str) -> MinariDataset:
    """The local data set of an id.

    Raises:
        ValueError: If there is none, with the ids there are.
    """
    there = find(dataset_id)
    if there is not None:
        return there
    known = ", ".join(sorted(minari.list_local_datasets(prefix=NAMESPACE)))
    raise ValueError(
        f"there is no local data set {dataset_id!r}"
        + (f"; there are {known}" if known else f", nor any other in the namespace {NAMESPACE!r}")
        + ": persim_gym.offline.record makes one"
    )


def find(dataset_id: str) -> MinariDataset | None:
    """The local data set of an id, or ``None``."""
    try:
        place = _place(dataset_id)
    except ValueError:
        return None  # no data set can have such an id
    _restore(place)
    return MinariDataset(place / "data") if _is_dataset(place) else None


# -- what there is ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """A data set in one line.

    Attributes:
        id: Its id.
        task: Task name, or the environment's id where that is not one of this package's.
        behaviour: Who acted, or an empty string where that is not known.
        agents: Number of agents with an episode; 0 where episodes do not name them.
        episodes: Number of episodes.
        transitions: Number of transitions.
        mean_return: Mean over episodes of the undiscounted sum of rewards.
        size: Bytes on disk.
    """

    id: str
    task: str
    behaviour: str
    agents: int
    episodes: int
    transitions: int
    mean_return: float
    size: int


def describe(data: MinariDataset | str | Path) -> Summary:
    """Describe a data set; arguments and errors as of :func:`open_dataset`."""
    from persim_gym.offline.recorded import agents_named, task_name_of

    dataset = open_dataset(data)
    metadata = dataset.storage.metadata
    card = metadata.get(CARD, {})
    summary = card.get("summary", {})
    whole = len(dataset) == dataset.storage.total_episodes == summary.get("episodes")
    if whole:
        agents, mean_return = int(summary["agents"]), float(summary["mean_return"])
    else:  # a part, a data set that has grown, or another library's
        agents = len(agents_named(dataset))
        returns = [float(np.sum(episode["rewards"])) for episode in episodes(dataset)]
        mean_return = float(np.mean(returns)) if returns else math.nan
    files = Path(dataset.storage.data_path).rglob("*")
    return Summary(
        id=dataset.id,
        task=task_name_of(dataset),
        behaviour=card.get("behaviour", metadata.get("algorithm_name", "")),
        agents=agents,
        episodes=len(dataset),
        transitions=dataset.total_steps,
        mean_return=mean_return,
        size=sum(file.stat().st_size for file in files if file.is_file()),
    )


def summaries() -> list[Summary]:
    """All local data sets of this package's environments, by id."""
    found = []
    for dataset_id in minari.list_local_datasets():
        dataset = load(dataset_id)
        if suite_of(dataset) is not None:
            found.append(describe(dataset))
    return found


# -- writing ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def publishing(dataset_id: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder that becomes the data set of an id when the block ends well, and vanishes if not.

    The folder lies beside the data set's place under a hidden name, where Minari does not look. A
    data set that is replaced is moved aside first, and back if a kill came in between: it is never
    changed.

    Args:
        dataset_id: The data set's id, with a version.
        overwrite: Replace a data set of this id.

    Raises:
        ValueError: If the id is malformed, or there is such a data set and ``overwrite`` is not
            set.
    """
    place = _place(dataset_id)
    _restore(place)
    _check_free(place, dataset_id, overwrite)
    root = get_dataset_path()
    place.parent.mkdir(parents=True, exist_ok=True)
    for remains in place.parent.glob(f".{place.name}.*.partial"):
        if _is_abandoned(remains):
            shutil.rmtree(remains, ignore_errors=True)
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    held = _hold(partial)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        _check_free(place, dataset_id, overwrite)
        _make_namespace(parse_dataset_id(dataset_id)[0])
        _move_in(partial, place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # folders that were made for it; others are not empty
            for parent in place.parents:
                if parent == root:
                    break
                parent.rmdir()
        raise
    finally:
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """A lock on a folder that ends with this process at the latest, however that ends.

    Returns:
        A descriptor to close, or ``None`` where somebody holds it or there are no such locks.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_abandoned(partial: Path) -> bool:
    """Whether nobody works at the remains of a recording any more."""
    age = time.time() - partial.stat().st_mtime
    if fcntl is None:
        return age > STALE
    held = _hold(partial)
    if held is None:
        return False
    os.close(held)
    return age > SETTLED  # a younger one may be about to be held


def check_id(dataset_id: object) -> str:
    """An id of a data set.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is malformed.
    """
    _place(dataset_id)
    return str(dataset_id)


def check_format(data_format: object) -> None:
    """Check that data sets can be written in a format.

    Raises:
        ImportError: If a library for it is not installed.
        ValueError: If Minari does not know it.
    """
    known = get_storage_keys()
    if data_format not in known:
        raise ValueError(f"a data set's format must be {', '.join(known)}, got {data_format!r}")
    try:
        get_minari_storage(data_format)
    except ImportError as error:
        raise ImportError(
            f"data sets in the format {data_format!r} need a library that is not installed: "
            "pip install 'persim-gym[arrow]'"
        ) from error


def new_storage(folder: Path, task: Task, env_spec: Any, data_format: str) -> MinariStorage:
    """Minari's own storage, empty, in a folder.

    Raises:
        ValueError: If Minari does not know the format.
    """
    return MinariStorage.new(
        folder / "data",
        observation_space=task.observation_space,
        action_space=task.action_space,
        env_spec=env_spec,
        data_format=data_format,
    )


def append(storage: MinariStorage, buffers: Sequence[EpisodeBuffer]) -> None:
    """Write episodes, having made sure that there is room.

    A disk that is full while HDF5 writes can end the whole process, and else floods the terminal.

    Raises:
        OSError: If there is not enough room.
    """
    folder = Path(storage.data_path)
    steps = sum(len(buffer.rewards) for buffer in buffers)
    arrays = sum(b.observations.nbytes + b.actions.nbytes + b.rewards.nbytes for b in buffers)
    # Chunks, indices and attributes of HDF5 measure 19 kB an episode; Arrow is smaller.
    needed = int(1.1 * (arrays + 2 * steps)) + 32_000 * len(buffers)
    _make_sure_of_room(folder, sum(f.stat().st_size for f in folder.glob("*.hdf5")), needed)
    storage.update_episodes(buffers)


def _make_sure_of_room(folder: Path, written: int, needed: int) -> None:
    """Raise if a file of ``written`` bytes cannot grow by ``needed``."""
    scratch = folder.parent / "room"
    try:
        with scratch.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), written, needed)
            elif shutil.disk_usage(folder).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return  # a file system that cannot tell
        raise OSError(
            f"there is no room for another {needed / 1e6:.3g} MB in {get_dataset_path()} "
            f"({error.strerror}): nothing was recorded; make room, or set MINARI_DATASETS_PATH to "
            "a folder on another disk"
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def _place(dataset_id: object) -> Path:
    if not isinstance(dataset_id, str):
        raise TypeError(f"a data set's id must be a string, got {dataset_id!r}")
    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError):  # Minari fails with TypeError where the version is missing
        raise ValueError(
            f"{dataset_id!r} is no id of a data set: it must be like 'persim/cartpole/random-v0', "
            "a namespace, a name and a version"
        ) from None
    parts = dataset_id.split("/")
    if not all(parts) or "data" in parts:
        # Minari takes every folder that holds one named `data` for a data set.
        raise ValueError(f"{dataset_id!r} is no id of a data set: no part may be empty or 'data'")
    return get_dataset_path(dataset_id)


def _is_dataset(place: Path) -> bool:
    return (place / "data" / "metadata.json").is_file()


def _check_free(place: Path, dataset_id: str, overwrite: bool) -> None:
    for parent in place.parents:
        if _is_dataset(parent):
            raise ValueError(f"{dataset_id!r} lies inside a data set: choose another id")
    if not os.path.lexists(place):
        return
    if not _is_dataset(place):
        raise ValueError(
            f"{place} exists and is no Minari data set, so it is left alone: choose another "
            f"id than {dataset_id!r}"
        )
    if not overwrite:
        raise ValueError(
            f"data set {dataset_id!r} exists already: read it, choose another id, or replace it "
            "with overwrite=True"
        )


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _move_in(partial: Path, place: Path) -> None:
    aside = _aside(place)
    if place.exists():
        place.rename(aside)
    try:
        partial.rename(place)
    except BaseException:
        _restore(place)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _restore(place: Path) -> None:
    """Finish a replacement that was killed: back if the new data set is not there, else away."""
    aside = _aside(place)
    if aside.exists():
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(place)


def _make_namespace(namespace: str | None) -> None:
    if namespace is None or namespace in list_local_namespaces():
        return
    try:
        create_namespace(namespace)
    except ValueError:
        if namespace not in list_local_namespaces():  # else another process was faster
            raise


# -- parts of a data set ---------------------------------------------------------------------------


def suite_of(dataset: MinariDataset) -> Suite | None:
    """The suite of the recorded environment, where it is one of this package's."""
    if dataset.env_spec is None:
        return None
    try:
        return find_suite(dataset.env_spec.id)
    except ValueError:
        return None


def episode_metadata(dataset: MinariDataset) -> list[dict[str, Any]]:
    with damage_of(dataset):
        return list(dataset.storage.get_episode_metadata(dataset.episode_indices))


def episodes(dataset: MinariDataset) -> Iterator[dict[str, Any]]:
    with damage_of(dataset):
        yield from dataset.storage.get_episodes(dataset.episode_indices)


@contextlib.contextmanager
def damage_of(dataset: MinariDataset) -> Iterator[None]:
    try:
        yield
    except (KeyError, OSError) as error:
        raise ValueError(
            f"data set {dataset.id!r} in {dataset.storage.data_path} cannot be read ({error}): it "
            "is damaged; record it again"
        ) from error


__all__ = ["Summary", "describe", "open_dataset", "publishing", "summaries"]
