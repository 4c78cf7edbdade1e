"""Minari data sets on this machine: found, opened, written whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage
from minari.storage import get_dataset_path

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.offline.publishing import (
    append,
    delete,
    place_of,
    publishing,
    settle,
    size_on_disk,
)

#: Key of this package's own entry in a data set's metadata.
CARD = "persim_gym"
NAMESPACE = "persim"
#: Formats of data sets, and the libraries that they need.
FORMATS = {"arrow": "pyarrow", "hdf5": "h5py", "parquet": "pyarrow"}


# -- opening ---------------------------------------------------------------------------------------


def open_dataset(data: MinariDataset | str | Path) -> MinariDataset:
    """A Minari data set from the data set itself, a local id, or a folder that holds one.

    Raises:
        FileNotFoundError: If there is none in the folder.
        TypeError: If ``data`` is none of these.
        ValueError: If there is no local data set of the id, or its metadata are damaged.
    """
    if isinstance(data, MinariDataset):
        return data
    if isinstance(data, str):
        there = find(data)
        if there is not None:
            return there
        folder = checks.as_path("data", data) if data.strip() else None
        if folder is None or not folder.is_dir():
            return load(data)
        data = folder
    if not isinstance(data, Path):
        raise TypeError(
            f"a Minari data set, the id of a local one or its folder is needed, got {data!r}"
        )
    data = checks.as_path("data", data).absolute()
    for folder in (data, data / "data"):
        if (folder / "metadata.json").is_file():
            return _opened(folder)
    raise FileNotFoundError(f"there is no Minari data set in {data}")


def load(dataset_id: str) -> MinariDataset:
    """The local data set of an id.

    Raises:
        ValueError: If there is none, with the ids there are, or its metadata are damaged.
    """
    there = find(dataset_id)
    if there is not None:
        return there
    there_are = local_ids()
    known = ", ".join(name for name in there_are if name.startswith(f"{NAMESPACE}/"))
    raise ValueError(
        f"there is no local data set {dataset_id!r}{checks.meant(dataset_id, there_are)}"
        + (f"; there are {known}" if known else f", nor any other in the namespace {NAMESPACE!r}")
        + ": persim_gym.offline.record makes one"
    )


def find(dataset_id: str) -> MinariDataset | None:
    """The local data set of an id, or ``None``.

    Raises:
        ValueError: If its metadata are damaged.
    """
    try:
        place = place_of(dataset_id)
    except ValueError:
        return None  # no data set can have such an id
    settle(place)
    return _opened(place / "data") if (place / "data").is_dir() else None


def _opened(folder: Path) -> MinariDataset:
    """The data set in a folder; Minari opens damaged ones with whatever error comes first."""
    try:
        if not (folder / "metadata.json").is_file():
            raise ValueError("there is no such file")
        dataset = MinariDataset(folder)
        card_of(dataset)
        if not 0 <= len(dataset) == dataset.storage.total_episodes:
            raise ValueError("it has no number of episodes")
    except (ImportError, PermissionError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the metadata of the data set in {folder} cannot be read ({reason!r}): bring back "
            "metadata.json, or delete the data set with persim-gym datasets delete and record it "
            "again"
        ) from error
    return dataset


#: What this package's card holds, as far as it is read without being asked whether it is there.
_CARD: dict[str, Any] = {
    "sha256": str,
    "about_sha256": str,
    "behaviour": str,
    "command": str,
    "summary": dict,
}
_SUMMARY: dict[str, Any] = {"agents": int, "episodes": int, "mean_return": (int, float)}


def card_of(dataset: MinariDataset) -> dict[str, Any]:
    """This package's own entry in a data set's metadata; empty in another library's.

    Raises:
        ValueError: If it is of another shape than what is written: the data set is damaged.
    """
    card = dataset.storage.metadata.get(CARD, {})
    if not isinstance(card, dict):
        raise ValueError(f"{CARD} is a {type(card).__name__}")
    summary = card.get("summary", {})
    for part, kinds in ((card, _CARD), (summary, _SUMMARY)):
        for name, kind in kinds.items():
            value = part.get(name) if isinstance(part, dict) else None
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ValueError(f"{name} is a {type(value).__name__}")
    if summary and set(_SUMMARY) - set(summary):
        raise ValueError(f"summary has no {', '.join(sorted(set(_SUMMARY) - set(summary)))}")
    return card


# -- ids and formats -------------------------------------------------------------------------------


def local_ids() -> list[str]:
    """The ids of all local data sets, damaged ones among them."""
    root, found = get_dataset_path(), []
    for place, folders, _ in os.walk(root):
        for name in folders:
            if name.startswith(".") and name.endswith(".old"):  # a replacement that was killed
                settle(Path(place, name[1:].removesuffix(".old")))
        names = sorted(entry for entry in os.listdir(place) if not entry.startswith("."))
        folders[:] = [name for name in names if Path(place, name).is_dir()]
        if "data" in folders:
            folders.clear()
            dataset_id = Path(place).relative_to(root).as_posix()
            with contextlib.suppress(ValueError):  # a folder that no id leads to
                found.append(check_id(dataset_id))
    return sorted(found)


def check_id(dataset_id: object) -> str:
    """An id of a data set.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is malformed.
    """
    place_of(dataset_id)
    return str(dataset_id)


def check_format(data_format: object) -> None:
    """Check that data sets can be written in a format.

    Raises:
        ImportError: If a library for it is not installed.
        ValueError: If Minari does not know it.
    """
    if not isinstance(data_format, str) or data_format not in FORMATS:
        raise ValueError(
            f"a data set's format must be {', '.join(FORMATS)}, got {data_format!r}"
            f"{checks.meant(data_format, FORMATS)}"
        )
    if importlib.util.find_spec(FORMATS[data_format]) is None:
        raise ImportError(
            f"data sets in the format {data_format!r} need a library that is not installed: "
            "pip install 'persim-gym[arrow]'"
        )


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
    except (KeyError, OSError, MemoryError, OverflowError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"data set {dataset.id!r} in {dataset.storage.data_path} cannot be read ({error}): it "
            "is damaged; record it again"
        ) from error


__all__ = [
    "append",
    "card_of",
    "delete",
    "open_dataset",
    "place_of",
    "publishing",
    "size_on_disk",
]
