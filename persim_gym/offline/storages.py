"""An episode's columns, straight from Minari's files where their layout is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from gymnasium.spaces import Dict, Space
from minari import MinariDataset
from numpy.typing import NDArray


class Steps(NamedTuple):
    """One recorded episode of ``n`` steps, as it is stored.

    Attributes:
        observations: ``[n + 1, ...]``, or a mapping of such arrays for a ``Dict`` space.
        actions: ``[n, ...]``.
        rewards: ``[n]``.
        terminations: ``[n]``.
        truncations: ``[n]``.
    """

    observations: Any
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminations: NDArray[Any]
    truncations: NDArray[Any]


_NAMES = Steps._fields

#: Compression makes data a thousandth at the least: an array that is larger is damaged.
DEFLATED = 1032


def stored_steps(dataset: MinariDataset) -> Iterator[Steps]:
    """The episodes of a data set in its order, without what they hold besides.

    HDF5, Arrow and Parquet files are read past Minari, which would decode every ``info`` too and
    build a Python object for each row of an Arrow file; any other kind of storage through Minari.

    Raises:
        KeyError: If something is missing in an episode.
        OSError: If a file is missing or damaged.
    """
    storage, indices = dataset.storage, np.asarray(dataset.episode_indices).tolist()
    kind = getattr(storage, "FORMAT", "")
    file = Path(storage.data_path) / "main_data.hdf5"
    if kind == "hdf5" and file.is_file():
        yield from _hdf5(file, indices)
    elif kind in ("arrow", "parquet"):
        with _arrow_damage():
            yield from _arrow(dataset, kind, indices)
    else:
        for episode in storage.get_episodes(indices):
            yield Steps(*(episode[name] for name in _NAMES))


def stored_infos(dataset: MinariDataset, key: str, indices: Sequence[int]) -> list[Any]:
    """What stands under a key in the infos of some episodes, ``None`` where nothing does.

    Raises:
        KeyError: If there is no such episode.
        OSError: If a file is missing or damaged.
    """
    storage = dataset.storage
    kind = getattr(storage, "FORMAT", "")
    file = Path(storage.data_path) / "main_data.hdf5"
    if kind == "hdf5" and file.is_file():
        with h5py.File(file, "r") as opened:
            found = [opened[f"episode_{index}"].get(f"infos/{key}") for index in indices]
            return [value[()] if isinstance(value, h5py.Dataset) else None for value in found]
    if kind in ("arrow", "parquet"):
        with _arrow_damage():
            return [_arrow_info(_arrow_file(dataset, kind, index), key) for index in indices]
    infos = (episode["infos"] for episode in storage.get_episodes(indices))
    return [info.get(key) if isinstance(info, Mapping) else None for info in infos]


def _hdf5(file: Path, indices: Sequence[int]) -> Iterator[Steps]:
    most = DEFLATED * file.stat().st_size
    with h5py.File(file, "r") as opened:
        for index in indices:
            group = opened[f"episode_{index}"]
            yield Steps(*(_hdf5_value(group[name], most) for name in _NAMES))


def _hdf5_value(stored: h5py.Group | h5py.Dataset, most: int) -> Any:
    if isinstance(stored, h5py.Group):
        return {name: _hdf5_value(part, most) for name, part in stored.items()}
    if stored.nbytes > most:  # before memory is asked for it
        raise OSError(f"an array of {stored.nbytes:,} bytes")
    return stored[()]


def _arrow(dataset: MinariDataset, kind: str, indices: Sequence[int]) -> Iterator[Steps]:
    for index in indices:
        parts = _arrow_file(dataset, kind, index)
        missing = set(_NAMES) - set(parts.schema.names)
        if missing:
            raise KeyError(f"episode {index} has no {', '.join(sorted(missing))}")
        table = parts.to_table(columns=list(_NAMES))
        columns = [table[name].combine_chunks() for name in _NAMES]
        seen = _arrow_value(columns[0], dataset.observation_space)
        # Minari pads all but the observations with one row.
        acted = _arrow_value(columns[1], dataset.action_space)[:-1]
        ends = [np.asarray(column.to_numpy(zero_copy_only=False))[:-1] for column in columns[2:]]
        yield Steps(seen, acted, ends[0], ends[1], ends[2])


@contextlib.contextmanager
def _arrow_damage() -> Iterator[None]:
    """Let a file that Arrow cannot read be damaged, as one of another kind is: not a bad value."""
    from pyarrow import ArrowException

    try:
        yield
    except ArrowException as error:
        raise OSError(str(error)) from error


def _arrow_file(dataset: MinariDataset, kind: str, index: int) -> Any:
    """The table of one episode, not read yet."""
    from pyarrow import dataset as files

    return files.dataset(
        str(Path(dataset.storage.data_path) / str(index)),
        format=kind,
        ignore_prefixes=["_", ".", "metadata.json"],
    )


def _arrow_info(parts: Any, key: str) -> Any:
    """What stands under a key in an episode's infos, past Minari, which cannot read all of them."""
    if "infos" not in parts.schema.names:
        return None
    infos = parts.to_table(columns=["infos"])["infos"].combine_chunks()
    if not hasattr(infos.type, "get_field_index") or infos.type.get_field_index(key) < 0:
        return None
    return np.asarray(infos.field(key).to_pylist())


def _arrow_value(stored: Any, space: Space[Any]) -> Any:
    if isinstance(space, Dict):
        return {key: _arrow_value(stored.field(key), part) for key, part in space.spaces.items()}
    if hasattr(stored, "flatten"):  # lists of one fixed size, all in one array
        return (
            stored.flatten()
            .to_numpy(zero_copy_only=False)
            .reshape(len(stored), *(space.shape or ()))
        )
    return stored.to_numpy(zero_copy_only=False)
