"""What all tables share: text, cells, and where they are filled from; all as one long table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from persim_gym.envs.suites import SUITES
from persim_gym.experiments.quantities import Quantity
from persim_gym.experiments.results import (
    Findings,
    Slot,
    Variant,
    datasets_of,
)
from persim_gym.experiments.statistics import Summary, best_of
from persim_gym.pages import Bold, plain
from persim_gym.plots.numbers import number, plus_minus, return_text

POLICIES = {"test-policy": "the test policy", "scripted": "scripted controllers"}
#: Knows the dynamics: what others are measured by, and no competitor.
TRUE = "true"
#: Open-loop steps of the table by horizon.
STEPS = (1, 5, 10, 25, 50)

MEAN_SD = "Mean ± standard deviation over seeds"
#: What has to be known for all tables.
NOTES = (
    "A seed is a repeat of everything: other agents in the data, other start states, another fit. "
    "± is the standard deviation over seeds. The best in a row is bold only "
    "where the 95 % bootstrap interval of its interquartile mean (seeds drawn "
    "first, then episodes within them) parts from every other's, those that plan in the true "
    "dynamics and the authors' code aside. With few seeds such intervals are too narrow, with one "
    "there is none, and nothing is bold.",
    "“missing” is what was asked for, or what the rest of the folder implies, and what is not "
    "there, “failed” what was tried in vain; a dash stands where nothing is expected. [3 of 5]: it "
    "is known of only three of five seeds.",
)
#: Where nothing is expected: the cell belongs to no experiment.
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text; :class:`~persim_gym.pages.Bold` cells stand out.

    Attributes:
        name: Short and without spaces.
        title: Its heading.
        caption: What a reader has to know.
        head: Names of columns.
        rows: Lines of cells.
    """

    name: str
    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def texts(self) -> int:
        """How many of the first columns are text, not numbers."""
        return sum(name in _TEXT for name in self.head)

    def to_markdown(self) -> str:
        """Heading, table and caption."""
        return f"### {self.title}\n\n{self.grid()}\n\n{self.caption}\n"

    def grid(self) -> str:
        """The table alone, as Markdown."""
        rule = ["---"] * self.texts + ["---:"] * (len(self.head) - self.texts)
        lines = [self.head, tuple(rule), *(tuple(map(_markdown, row)) for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_TEXT = ("task", "data set", "agent", "method", "planner", "steps", "coordinate", "search", "what")


def _markdown(cell: str) -> str:
    text = plain(cell)
    return f"**{text}**" if isinstance(cell, Bold) else text


# -- cells -----------------------------------------------------------------------------------------

#: A cell's text, from a summary.
Say = Callable[[Summary], str]


def mean_sd(own: Summary, digits: Callable[[float | None], str] = number) -> str:
    """Mean ± standard deviation, the latter if there is one."""
    if digits is number:
        return plus_minus(own.mean, None if math.isnan(own.sd) else own.sd)
    return digits(own.mean) + ("" if math.isnan(own.sd) else f" ± {own.sd:.1f}")


def returned(own: Summary) -> str:
    """A return ± standard deviation."""
    return mean_sd(own, return_text)


def entry(findings: Findings, slot: Slot | None, quantity: Quantity, say: Say = mean_sd) -> str:
    """A cell: what is said, or why nothing is; marked where seeds are fewer than the task's."""
    if slot is None or slot not in findings.slots:
        return NOTHING
    own = findings.summary(slot, quantity)
    if own is None:
        if slot in findings.by_slot:
            return NOTHING  # there is nothing to measure, such as episodes that last so long
        return "failed" if slot in findings.failed else "missing"
    of = len(findings.seeds[slot.task])
    few = "" if own.seeds == of else f" [{own.seeds} of {of}]"
    return say(own) + few


def line(
    findings: Findings,
    slots: Sequence[Slot | None],
    quantity: Quantity,
    *,
    lower: bool,
    say: Say = mean_sd,
) -> list[str]:
    """A row's cells, the best one bold if it is clear which that is."""
    texts = [entry(findings, slot, quantity, say) for slot in slots]
    rivals = [
        None if slot is None or slot.variant.method == TRUE else findings.summary(slot, quantity)
        for slot in slots
    ]
    best = best_of(rivals, lower=lower)
    if best is not None:
        texts[best] = Bold(texts[best])
    return texts


def places(
    slots: Sequence[Slot], dataset: str | None, variants: Sequence[Variant]
) -> list[Slot | None]:
    """Of each variant, its place for a data set, or the one that needs no data."""
    found = {(slot.dataset, slot.variant): slot for slot in slots}
    return [found.get((dataset, e), found.get((None, e))) for e in variants]


def blocks(slots: Sequence[Slot]) -> list[str | None]:
    """Data sets of a table's blocks; one block without, if nothing learns from data."""
    found: list[str | None] = [*datasets_of(slots)]
    return found or [None]


def agents_of(findings: Findings, slots: Sequence[Slot]) -> list[int]:
    """Agents of which there is something."""
    groups = (findings.by_slot.get(slot) for slot in slots)
    return sorted({agent for group in groups if group for agent in group.cell.agents})


def covariates_of(task: str, agents: Sequence[int]) -> str:
    """The test agents' covariates, for captions."""
    population = SUITES[task].population({"size": max(agents, default=0) + 1, "seed": 0})
    said = (f"{agent}: {', '.join(f'{v:g}' for v in population.values[agent])}" for agent in agents)
    names = " and ".join(population.names)
    return f"Agents by {names}: {'; '.join(said)}."


CSV_HEAD = (
    "experiment", "task", "dataset", "method", "planner", "train_agents", "penalty", "fit",
    "max_episode_steps", "policy", "known", "agent", "measure", "mean", "sd", "iqm", "low", "high",
    "seeds", "episodes",
)  # fmt: skip


def results_csv(findings: Findings) -> str:
    """Everything that was measured, a line for each quantity; unknown values are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for group in findings.groups:
        cell = group.cell
        head = (
            cell.experiment, cell.task, cell.dataset, cell.method, cell.planner,
            cell.train_agents if cell.dataset else None, cell.penalty,
            json.dumps(dict(cell.fit)) if cell.fit else None, cell.max_episode_steps,
        )  # fmt: skip
        for name, own in group.summaries.items():
            values = [_plain(v) for v in (own.mean, own.sd, own.iqm, own.low, own.high)]
            episodes = cell.episodes if cell.experiment != "latent" else None
            names = (name.policy, name.known, name.agent, name.measure)
            writer.writerow([*head, *names, *values, own.seeds, episodes])
    return stream.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
