"""Minari data sets on this machine in one line each."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from minari import MinariDataset

from persim_gym.offline.datasets import (
    card_of,
    episodes,
    load,
    local_ids,
    open_dataset,
    place_of,
    suite_of,
)
from persim_gym.offline.recorded import agents_named, task_name_of


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
        damage: Why it cannot be read; an empty string where it can.
    """

    id: str
    task: str
    behaviour: str
    agents: int
    episodes: int
    transitions: int
    mean_return: float
    size: int
    damage: str = ""


def describe(data: MinariDataset | str | Path) -> Summary:
    """Describe a data set; arguments and errors as of :func:`open_dataset`."""
    dataset = open_dataset(data)
    card = card_of(dataset)
    summary = card.get("summary", {})
    whole = len(dataset) == dataset.storage.total_episodes == summary.get("episodes")
    if whole:
        agents, mean_return = int(summary["agents"]), float(summary["mean_return"])
    else:  # a part, a data set that has grown, or another library's
        agents = len(agents_named(dataset))
        returns = [float(np.sum(episode["rewards"])) for episode in episodes(dataset)]
        mean_return = float(np.mean(returns)) if returns else math.nan
    return Summary(
        id=dataset.id,
        task=task_name_of(dataset),
        behaviour=card.get("behaviour", dataset.storage.metadata.get("algorithm_name", "")),
        agents=agents,
        episodes=len(dataset),
        transitions=dataset.total_steps,
        mean_return=mean_return,
        size=_size(Path(dataset.storage.data_path)),
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def summaries() -> list[Summary]:
    """All local data sets of this package's environments, by id; damaged ones say so."""
    found = []
    for dataset_id in local_ids():
        try:
            dataset = load(dataset_id)
            if suite_of(dataset) is not None:
                # By its place, whatever its metadata say.
                found.append(dataclasses.replace(describe(dataset), id=dataset_id))
        except (ValueError, OSError) as error:
            size = _size(place_of(dataset_id))
            found.append(Summary(dataset_id, "", "", 0, 0, 0, math.nan, size, str(error)))
    return found
