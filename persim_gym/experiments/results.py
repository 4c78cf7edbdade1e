"""The rows of a benchmark's folder, put in order: repeats together, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.ledger import read_ledger, wanted_cells
from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.quantities import Quantity, Values, quantities
from persim_gym.experiments.row_files import Row, RowFiles
from persim_gym.experiments.statistics import Summary, summarise
from persim_gym.policies.paper_behaviours import BEHAVIOURS


@dataclass(frozen=True, slots=True)
class Variant:
    """What stands in a column: a method, and how it was run where not as usual."""

    method: str
    fit: tuple[tuple[str, Any], ...] = ()
    penalty: float | None = None

    @property
    def title(self) -> str:
        """Its name in tables."""
        known = METHODS.get(self.method)
        said = [f"{name} {value}" for name, value in self.fit]
        if self.penalty is not None:
            said.append(f"penalty {self.penalty:g}")
        title = known.title if known else self.method
        return f"{title} ({', '.join(said)})" if said else title


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the tables. Rows of one slot and seed are of one experiment.

    Attributes:
        experiment: See :class:`~persim_gym.experiments.cell.Cell`, as for the others.
        task: The task.
        dataset: The data set; ``None`` for what learns nothing.
        variant: The method.
        planner: The planner; ``None`` for what does not plan.
        train_agents: Agents in the data; ``None`` for what learns nothing.
    """

    experiment: str
    task: str
    dataset: str | None
    variant: Variant
    planner: str | None
    train_agents: int | None

    def describe(self) -> str:
        """A few words for messages."""
        parts = [self.experiment, self.task, self.dataset, self.variant.title, self.planner]
        if self.train_agents is not None:
            parts.append(f"{self.train_agents} agents")
        return ", ".join(part for part in parts if part)


def slot_of(cell: Cell) -> Slot:
    """Where a cell belongs."""
    return Slot(
        cell.experiment,
        cell.task,
        cell.dataset,
        Variant(cell.method, cell.fit, cell.penalty),
        cell.planner,
        None if cell.dataset is None else cell.train_agents,
    )


@dataclass(frozen=True)
class Group:
    """Repeats of one experiment.

    Attributes:
        rows: One for each seed, in their order.
    """

    rows: tuple[Row, ...]

    @property
    def cell(self) -> Cell:
        """What the repeats have in common."""
        return self.rows[0].cell.group

    @property
    def seeds(self) -> tuple[int, ...]:
        """The repeats' seeds."""
        return tuple(row.cell.seed for row in self.rows)

    @cached_property
    def values(self) -> dict[Quantity, Values]:
        """All quantities of each seed."""
        return quantities(self.rows)

    @cached_property
    def summaries(self) -> dict[Quantity, Summary]:
        """What is said of each quantity.

        Each group's bootstrap begins with the same generator: an interval does not depend on what
        else is in the folder.
        """
        rng = np.random.default_rng(0)
        by_shape: dict[tuple[int, ...], list[Quantity]] = {}
        for name, values in self.values.items():
            by_shape.setdefault(values.shape[1:], []).append(name)
        found: dict[Quantity, Summary] = {}
        for names in by_shape.values():
            values = np.stack([self.values[name] for name in names])
            found |= dict(zip(names, summarise(values, rng), strict=True))
        return {name: found[name] for name in self.values}


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that failed and was not done since.

    Attributes:
        key: The cell's key.
        slot: Where its row would be; ``None`` if that is not known.
        seed: Its seed.
        error: What went wrong, in one line.
    """

    key: str
    slot: Slot | None
    seed: int
    error: str


class Findings:
    """All that a report is made of.

    Args:
        rows: Rows of a benchmark.
        failures: Cells that failed.
        wanted: Cells that the runs of the folder were asked for, as far as it is known.
        runs: These runs, as the folder's ledger tells of them.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        failures: Iterable[Failure] = (),
        wanted: Iterable[Cell] = (),
        runs: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.rows = tuple(rows)
        self.failures = tuple(failures)
        self.wanted = tuple(wanted)
        self.runs = tuple(runs)
        by_group: dict[Cell, list[Row]] = {}
        for row in self.rows:
            by_group.setdefault(row.cell.group, []).append(row)
        self.groups = [
            Group(tuple(sorted(own, key=lambda row: row.cell.seed))) for own in by_group.values()
        ]
        candidates: dict[Slot, list[Group]] = {}
        for group in self.groups:
            candidates.setdefault(slot_of(group.cell), []).append(group)
        #: Where two settings would stand in one place, the one with more seeds and episodes does.
        self.by_slot: dict[Slot, Group] = {}
        self.beside: list[Group] = []
        for slot, groups in candidates.items():
            first, *others = sorted(groups, key=_size, reverse=True)
            self.by_slot[slot] = first
            self.beside.extend(others)

    @cached_property
    def seeds(self) -> dict[str, tuple[int, ...]]:
        """Of each task, all seeds of which there is anything."""
        found: dict[str, set[int]] = {}
        for cell in (*(row.cell for row in self.rows), *self.wanted):
            found.setdefault(cell.task, set()).add(cell.seed)
        for failure in self.failures:
            if failure.slot is not None:
                found.setdefault(failure.slot.task, set()).add(failure.seed)
        return {task: tuple(sorted(found[task])) for task in SUITES if task in found}

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All places that the folder implies, filled or not, in the order of tables.

        What its runs were asked for is known. Of rows beyond that, within what has one experiment,
        planner and number of agents in common, each task, data set and method that occurs at all
        is expected with each of the others.
        """
        wanted = set(self.wanted)
        keys = {cell.key for cell in wanted}
        asked = {*self.by_slot, *map(slot_of, wanted)}
        beyond = {slot_of(row.cell) for row in self.rows if row.cell not in wanted}
        for failure in self.failures:
            if failure.slot is not None:
                (asked if failure.key in keys else beyond).add(failure.slot)
        kinds: dict[tuple[Any, ...], list[Slot]] = {}
        for slot in beyond:
            learns = slot.dataset is not None
            kind = (slot.experiment, slot.planner, slot.train_agents, learns)
            kinds.setdefault(kind, []).append(slot)
        implied = {
            Slot(experiment, task, dataset, variant, planner, agents)
            for (experiment, planner, agents, _), own in kinds.items()
            for task in {slot.task for slot in own}
            for dataset in {slot.dataset for slot in own}
            for variant in {slot.variant for slot in own}
        }
        return tuple(sorted(asked | implied, key=_order))

    @cached_property
    def missing(self) -> dict[Slot, tuple[int, ...]]:
        """Of each place, the seeds that are expected and not there.

        Where cells of a place were asked for, these are theirs; else all of the task.
        """
        asked: dict[Slot, set[int]] = {}
        for cell in self.wanted:
            asked.setdefault(slot_of(cell), set()).add(cell.seed)
        found = {}
        for slot in self.slots:
            group = self.by_slot.get(slot)
            done = () if group is None else group.seeds
            expected = sorted(asked[slot]) if slot in asked else self.seeds[slot.task]
            lacking = tuple(seed for seed in expected if seed not in done)
            if lacking:
                found[slot] = lacking
        return found

    @cached_property
    def failed(self) -> frozenset[Slot]:
        """Places of which a cell has failed."""
        return frozenset(f.slot for f in self.failures if f.slot is not None)

    def tasks(self, experiment: str) -> list[str]:
        """Tasks of an experiment."""
        return list(dict.fromkeys(s.task for s in self.slots if s.experiment == experiment))

    def main_agents(self, task: str) -> int | None:
        """Agents in the data of a task's main experiments: the most there are."""
        counts = [
            slot.train_agents
            for slot in self.slots
            if slot.task == task and slot.train_agents and slot.experiment != "unseen"
        ]
        return max(counts, default=None)

    def main_planner(self, task: str) -> str | None:
        """The planner of a task's main table: the default one, if it is there."""
        names = [s.planner for s in self.slots if s.task == task and s.planner is not None]
        return min(names, key=lambda name: (name != "default", name), default=None)

    def main_slots(self, experiment: str, task: str) -> list[Slot]:
        """Places in the main table of an experiment and task."""
        agents, planner = self.main_agents(task), self.main_planner(task)
        return [
            slot
            for slot in self.slots
            if slot.experiment == experiment
            and slot.task == task
            and slot.train_agents in (None, agents)
            and slot.planner in (None, planner)
        ]

    def summary(self, slot: Slot | None, quantity: Quantity) -> Summary | None:
        """What is said of a quantity; ``None`` if nothing is."""
        group = None if slot is None else self.by_slot.get(slot)
        if group is None:
            return None
        found = group.summaries.get(quantity)
        return None if found is None or found.seeds == 0 else found


def variants_of(slots: Iterable[Slot]) -> list[Variant]:
    """The columns for some places, each once."""
    return list(dict.fromkeys(sorted((slot.variant for slot in slots), key=_variant_order)))


def datasets_of(slots: Iterable[Slot]) -> list[str]:
    """Data sets of some places, each once, in the paper's order."""
    there = {slot.dataset for slot in slots}
    return [name for name in BEHAVIOURS if name in there]


def _size(group: Group) -> tuple[Any, ...]:
    cell = group.cell
    limit = cell.max_episode_steps
    return len(group.rows), cell.episodes, limit is None, limit or 0, len(cell.agents), cell.key


def _order(slot: Slot) -> tuple[Any, ...]:
    behaviours = (*BEHAVIOURS, None)
    return (
        slot.experiment,
        list(SUITES).index(slot.task),
        behaviours.index(slot.dataset),
        _variant_order(slot.variant),
        (slot.planner != "default", slot.planner or ""),
        slot.train_agents or 0,
    )


def _variant_order(variant: Variant) -> tuple[Any, ...]:
    names = list(METHODS)
    known = METHODS.get(variant.method)
    place = names.index(variant.method) if known else len(names)
    learns = known is None or known.learns
    return (
        not learns,
        place,
        variant.method,
        len(variant.fit),
        str(variant.fit),
        variant.penalty or 0.0,
    )


# -- reading ---------------------------------------------------------------------------------------


def read_findings(folder: str | Path) -> Findings:
    """Read a benchmark's folder.

    Raises:
        ValueError: If it has no rows, or one is damaged; with what to do.
    """
    folder = checks.as_path("folder", folder)
    rows = list(RowFiles(folder))
    if not rows:
        what = "has no rows of results" if folder.is_dir() else "does not exist"
        raise ValueError(
            f"{folder} {what}: give the folder of a benchmark, as persim-gym benchmark --out makes"
        )
    done = {row.cell.key for row in rows}
    paths = sorted((folder / "failed").glob("*.txt"))
    wanted = wanted_cells(folder)
    by_key = {cell.key: cell for cell in wanted}
    failures = [_failure(path, by_key) for path in paths if path.stem not in done]
    return Findings(rows, failures, wanted, read_ledger(folder)["runs"])


def _failure(path: Path, wanted: Mapping[str, Cell]) -> Failure:
    """A failed cell, from its file: the cell itself, and below it the traceback."""
    first, *lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
    cell = wanted.get(path.stem)
    try:
        cell = Cell.from_json(json.loads(first))
    except (AttributeError, RecursionError, TypeError, ValueError):
        lines = [first, *lines]  # older versions wrote the traceback alone
    error = lines[-1].strip() if lines else ""
    slot, seed = (None, 0) if cell is None else (slot_of(cell), cell.seed)
    return Failure(path.stem, slot, seed, error or "nothing was said")
