"""Whether a data set is what was recorded: its content against the hash that is kept in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage

from persim_gym.offline.datasets import CARD, card_of
from persim_gym.offline.provenance import ContentHash
from persim_gym.offline.storages import Steps, stored_steps

#: Key of the card's own hash, over all that decides how the content is understood.
ABOUT = "about_sha256"

#: Data sets that were found intact, by folder, with the stamps of their files at that time.
_intact: dict[str, tuple[Any, ...]] = {}


def checked_steps(
    dataset: MinariDataset, metadata: Sequence[Mapping[str, Any]], verify: bool = True
) -> Iterator[Steps]:
    """The episodes of a data set in its order, checked against its hash as they are read.

    Only once for the same files: the next reading in this process compares their times and sizes.
    Of a part of a data set the whole is checked first. Data that hold no hash, other libraries'
    for example, pass; so do episodes that were added later.

    Raises:
        ValueError: If the data were altered; after the last episode, if the whole is read.
    """
    sealed = _sealed(dataset) if verify else None
    folder = Path(dataset.storage.data_path)
    stamps = _stamps(folder) if sealed is not None else ()
    if sealed is None or _intact.get(str(folder)) == stamps:
        yield from stored_steps(dataset)
        return
    count, written = sealed
    digest = ContentHash()
    indices = np.asarray(dataset.episode_indices).tolist()
    if indices[:count] == list(range(count)):
        for row, steps in enumerate(stored_steps(dataset)):
            if row < count:
                digest.update(metadata[row].get("seed"), metadata[row].get("options"), steps)
            yield steps
        _compare(dataset, digest, written)
    else:
        whole = MinariDataset(dataset.storage, np.arange(count))
        about = dataset.storage.get_episode_metadata(range(count))
        for entry, steps in zip(about, stored_steps(whole), strict=True):
            digest.update(entry.get("seed"), entry.get("options"), steps)
        _compare(dataset, digest, written)
        yield from stored_steps(dataset)
    _intact[str(folder)] = stamps


def seal(storage: MinariStorage, card: Mapping[str, Any]) -> None:
    """Write this package's card into a data set, with a hash of it and of the spaces and the task.

    Args:
        storage: The data set's storage, complete apart from the card.
        card: Plain types; among them ``"sha256"``, the hash of the content.
    """
    raw = MinariStorage.read_raw_metadata(storage.data_path)
    storage.update_metadata({CARD: {**card, ABOUT: _about({**raw, CARD: card})}})


def _about(raw: Mapping[str, Any]) -> str:
    card = {key: value for key, value in raw[CARD].items() if key != ABOUT}
    about = [raw.get(key) for key in ("env_spec", "observation_space", "action_space")]
    return hashlib.sha256(json.dumps([card, *about], sort_keys=True).encode()).hexdigest()


def _sealed(dataset: MinariDataset) -> tuple[int, str] | None:
    """The number of recorded episodes and the hash of their content, where they are kept."""
    card = card_of(dataset)
    if ABOUT in card:
        raw = MinariStorage.read_raw_metadata(dataset.storage.data_path)
        if _about(raw) != card[ABOUT]:
            raise ValueError(_altered(dataset, "metadata"))
    count, written = card.get("summary", {}).get("episodes"), card.get("sha256")
    if count is None or written is None:
        return None
    if dataset.storage.total_episodes < count:
        raise ValueError(_altered(dataset, "number of episodes"))
    return count, written


def _compare(dataset: MinariDataset, digest: ContentHash, written: str) -> None:
    if digest.hexdigest() != written:
        raise ValueError(_altered(dataset, "content"))


def _altered(dataset: MinariDataset, what: str) -> str:
    return (
        f"data set {dataset.id!r} in {dataset.storage.data_path} was altered after it was recorded "
        f"(its {what} does not fit its hash): record it again; what is there is read with "
        "read_transitions(..., verify=False)"
    )


def _stamps(folder: Path) -> tuple[Any, ...]:
    """Name, time, size and number of every file."""
    found = []
    for place, _folders, names in os.walk(folder):
        for name in names:
            status = os.stat(os.path.join(place, name))
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            found.append((place, name, *stamp))
    return tuple(sorted(found))
