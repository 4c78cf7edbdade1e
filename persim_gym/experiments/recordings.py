"""The data of a cell: recorded once, shared by all cells of a task, behaviour and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minari import MinariDataset

from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import SUITES
from persim_gym.experiments.cell import Cell
from persim_gym.offline import datasets
from persim_gym.offline.collection import dataset_id, is_there
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.recorder import Recording, prepare
from persim_gym.offline.transitions import Transitions
from persim_gym.progress import OnProgress


def population_of(cell: Cell) -> Population:
    """The population of a cell: the paper's test agents, then draws by the cell's seed."""
    return SUITES[cell.task].population({"size": cell.population_size, "seed": cell.seed})


def recording_of(cell: Cell) -> Recording:
    """The recording that a cell learns from.

    Each seed has a recording of its own, of other agents from the sixth on, in other start states.

    Paper: there the five repeats are of one data set. What a method owes to the luck of one
    recording stays hidden then; here it is part of the standard deviation.

    Raises:
        ValueError: If the cell learns from no data.
    """
    if cell.dataset is None:
        raise ValueError(f"{cell.method} learns from no data")
    name = cell.dataset if cell.seed == 0 else f"{cell.dataset}-seed-{cell.seed}"
    if cell.population_size != DEFAULT_SIZE:
        name = f"{name}-agents-{cell.population_size}"
    return prepare(
        cell.task,
        cell.dataset,
        cell.population_size,
        seed=cell.seed,
        population={"size": cell.population_size, "seed": cell.seed},
        dataset_id=dataset_id(cell.task, name),
    )


def missing_recordings(cells: Iterable[Cell]) -> list[Recording]:
    """Recordings that cells need and that are not there, each once.

    Raises:
        ValueError: If a data set of such an id is there with other options.
    """
    wanted: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        if cell.dataset is not None:
            wanted.setdefault((cell.task, cell.dataset, cell.seed, cell.population_size), cell)
    recordings = [recording_of(cell) for cell in wanted.values()]
    return [recording for recording in recordings if not _is_there(recording)]


def _is_there(recording: Recording) -> bool:
    delete = f"persim-gym datasets delete {recording.dataset_id}"
    return is_there(
        recording, f"delete it ({delete}), or let MINARI_DATASETS_PATH name another folder"
    )


def check_own(cell: Cell, folder: Path, what: str, card: Mapping[str, Any]) -> None:
    """Check that what lies in a folder is of a cell's own data.

    Raises:
        ValueError: If its card names another data set.
    """
    found, wanted = (card.get("dataset") or {}).get("id"), recording_of(cell).dataset_id
    if found != wanted:
        raise ValueError(
            f"{folder} holds a {what} that was fitted on {found!r}, the cell learns from "
            f"{wanted!r}: delete the folder, or run with --force"
        )


def transitions_of(cell: Cell) -> Transitions:
    """The transitions that a cell learns from, recorded first if need be."""
    recording = recording_of(cell)
    if _is_there(recording):
        data = datasets.load(recording.dataset_id)
    else:
        data = record_missing(recording)
    # The beginning of a population is a population.
    population = {"size": cell.train_agents, "seed": cell.seed}
    return first_agents(read_transitions(data), cell.train_agents, population)


def first_agents(
    transitions: Transitions, count: int, population: Mapping[str, Any]
) -> Transitions:
    """The transitions of the first agents, whose population is given; all if there are no more."""
    if count >= transitions.num_agents:
        return transitions
    few = transitions.select(transitions.agent < count)
    return replace(few, num_agents=count, population=population)


def record_missing(recording: Recording, on_progress: OnProgress | None = None) -> MinariDataset:
    """Record what was not there a moment ago; what another process has recorded meanwhile will do.

    Raises:
        ValueError: If a data set of the id is there by now, with other options.
    """
    try:
        return recording.run(on_progress=on_progress, progress=False)
    except ValueError:
        # Another worker on a cluster's node, or another benchmark with the same data.
        if not _is_there(recording):
            raise
        return datasets.load(recording.dataset_id)
