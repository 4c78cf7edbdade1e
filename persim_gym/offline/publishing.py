"""Minari data sets written whole or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage import get_dataset_path

from persim_gym import files

#: Seconds that a reader waits for another process that is just putting a data set into its place.
PATIENCE = 5.0


@contextlib.contextmanager
def publishing(dataset_id: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder that becomes the data set of an id when the block ends well, and vanishes if not.

    The folder lies beside the data set's place under a hidden name, where Minari does not read, and
    is locked: one process at a time writes a data set. What a killed one has left is taken away. A
    data set that is replaced is there until the new one is: it is never changed.

    Args:
        dataset_id: The data set's id, with a version.
        overwrite: Replace a data set of this id.

    Raises:
        OSError: If the disk is full, or the folder cannot be written to.
        ValueError: If the id is malformed, there is such a data set and ``overwrite`` is not set,
            or another process is writing it.
    """
    place = place_of(dataset_id)
    settle(place)
    check_free(place, dataset_id, overwrite)
    root = get_dataset_path()
    place.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = _claim(place, dataset_id)
    try:
        with _saying_where(dataset_id):
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    with file.open("rb+") as written:
                        os.fsync(written.fileno())
            check_free(place, dataset_id, overwrite)
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
        if lock is not None:
            os.close(lock)


def delete(dataset_id: str) -> None:
    """Delete a data set, damaged or not.

    Raises:
        OSError: If its folder cannot be deleted.
        ValueError: If there is none of this id.
    """
    place = place_of(dataset_id)
    settle(place)
    if not (place / "data").is_dir():
        raise ValueError(f"there is no local data set {dataset_id!r}")
    trash = _trash(place)
    place.rename(trash)
    shutil.rmtree(trash)


def place_of(dataset_id: object) -> Path:
    """The folder of an id, whether there is a data set or not.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is malformed.
    """
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


def is_dataset(place: Path) -> bool:
    """Whether there is a data set in a folder."""
    return (place / "data" / "metadata.json").is_file()


def check_free(place: Path, dataset_id: str, overwrite: bool) -> None:
    """Check that a data set may be written to a place.

    Raises:
        ValueError: If something is there that must not be replaced.
    """
    for parent in place.parents:
        if is_dataset(parent):
            raise ValueError(f"{dataset_id!r} lies inside a data set: choose another id")
    if not os.path.lexists(place):
        return
    if not is_dataset(place):
        raise ValueError(
            f"{place} exists and is no Minari data set, so it is left alone: choose another "
            f"id than {dataset_id!r}"
        )
    if not overwrite:
        raise ValueError(
            f"data set {dataset_id!r} exists already: read it, choose another id, or replace it "
            "with overwrite=True"
        )


# -- one writer ------------------------------------------------------------------------------------


def _partial(place: Path) -> Path:
    return place.with_name(f".{place.name}.partial")


def _trash(place: Path) -> Path:
    return place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")


def _claim(place: Path, dataset_id: str) -> tuple[Path, int | None]:
    """The hidden folder of a data set, new and locked, and its lock."""
    for remains in place.parent.glob(f".{place.name}.*.partial"):
        files.take_abandoned(remains)
    partial, tries = _partial(place), 3
    while True:
        try:
            partial.mkdir()
        except FileExistsError:
            if not files.take_abandoned(partial):
                if tries := tries - 1:  # a reader may have it open
                    time.sleep(0.05)
                    continue
                raise ValueError(
                    f"data set {dataset_id!r} is being written by another process: wait for it, or "
                    f"choose another id (if there is none, delete the folder {partial})"
                ) from None
            continue
        there, lock = files.claim(partial)
        if there:
            return partial, lock


def _make_namespace(namespace: str | None) -> None:
    if namespace is None or namespace in list_local_namespaces():
        return
    try:
        create_namespace(namespace)
    except ValueError:
        if namespace not in list_local_namespaces():  # else another process was faster
            raise


# -- into its place --------------------------------------------------------------------------------


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _move_in(partial: Path, place: Path) -> None:
    if not place.exists():
        partial.rename(place)
        return
    old = files.hold(place)  # it is in the hidden place next, and not to be taken for remains
    try:
        trash = _trash(place)
        if exchange(partial, place):
            with contextlib.suppress(OSError):  # what is left is taken away by the next one
                partial.rename(trash)
        else:  # in two steps: readers of the moment between wait or put the old one back
            place.rename(aside := _aside(place))
            try:
                partial.rename(place)
            except BaseException:
                aside.rename(place)
                raise
            aside.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
    finally:
        if old is not None:
            os.close(old)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; whether the system can do that."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # an older C library
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def settle(place: Path) -> None:
    """Finish a replacement that was killed: back if the new data set is not there, else away."""
    aside = _aside(place)
    end = time.monotonic() + PATIENCE
    while aside.exists():
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)
            return
        partial = _partial(place)
        lock = files.hold(partial)
        if lock is not None or not files.has_locks() or not partial.exists():
            with contextlib.suppress(OSError):  # another reader may have been faster
                if not place.exists():
                    aside.rename(place)
            if lock is not None:
                os.close(lock)
            return
        if time.monotonic() > end:
            return
        time.sleep(0.01)


# -- room ------------------------------------------------------------------------------------------


def append(storage: MinariStorage, buffers: Sequence[EpisodeBuffer]) -> None:
    """Write episodes, having made sure that there is room.

    A disk that is full while HDF5 writes can end the whole process, and else floods the terminal.

    Raises:
        OSError: If there is not enough room.
    """
    folder = Path(storage.data_path)
    written = sum(file.stat().st_size for file in folder.glob("*.hdf5"))
    files.make_sure_of_room(folder, sum(map(size_on_disk, buffers)) + METADATA, written)
    storage.update_episodes(buffers)


#: Bytes of a data set's metadata, roughly, and of one episode beside its arrays: chunks, indices
#: and attributes of HDF5 and infos measure 19 kB, Arrow's are smaller.
METADATA, EPISODE = 64_000, 32_000


def size_on_disk(buffer: EpisodeBuffer) -> int:
    """Bytes that an episode takes at most."""
    steps = len(buffer.rewards)
    arrays = buffer.observations.nbytes + buffer.actions.nbytes + buffer.rewards.nbytes
    return int(1.1 * (arrays + 2 * steps)) + EPISODE


@contextlib.contextmanager
def _saying_where(dataset_id: str) -> Iterator[None]:
    """Say of a full disk where data sets are stored, and that nothing is left."""
    try:
        yield
    except OSError as error:
        if not files.is_full(error):
            raise
        raise OSError(
            f"there is no room for data set {dataset_id!r} in {get_dataset_path()} "
            f"({error.strerror or error}): nothing was written; make room, or set "
            "MINARI_DATASETS_PATH to a folder on another disk"
        ) from error
