"""The paper's main tables, prediction error and reward, and what all tables share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from persim_gym.envs.suites import SUITES
from persim_gym.experiments import published as references
from persim_gym.experiments.quantities import ALL, STOPPED, Quantity
from persim_gym.experiments.results import (
    Entrant,
    Findings,
    Slot,
    datasets_of,
    entrants_of,
)
from persim_gym.experiments.statistics import Summary, best_of
from persim_gym.pages import Bold, plain
from persim_gym.plots.numbers import number, plus_minus, r2_text, return_text

POLICIES = {"test-policy": "the test policy", "scripted": "scripted controllers"}
#: Knows the dynamics: what others are measured by, and no competitor.
TRUE = "true"
#: Open-loop steps of the table by horizon.
STEPS = (1, 5, 10, 25, 50)

SPREAD = "Mean ± standard deviation over seeds"
#: What has to be known for all tables.
NOTES = (
    "A seed is a repeat of everything: other agents in the data, other start states, another fit. "
    "± is the standard deviation over seeds. Of the best in a row it is said only where that can "
    "be told: it is bold where the 95 % bootstrap interval of its interquartile mean (seeds drawn "
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


def spread(own: Summary, digits: Callable[[float | None], str] = number) -> str:
    """Mean ± standard deviation, the latter if there is one."""
    if digits is number:
        return plus_minus(own.mean, None if math.isnan(own.sd) else own.sd)
    return digits(own.mean) + ("" if math.isnan(own.sd) else f" ± {own.sd:.1f}")


def returned(own: Summary) -> str:
    """A return ± standard deviation."""
    return spread(own, return_text)


def entry(findings: Findings, slot: Slot | None, quantity: Quantity, say: Say = spread) -> str:
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
    say: Say = spread,
) -> list[str]:
    """A row's cells, the best one bold where that can be told."""
    texts = [entry(findings, slot, quantity, say) for slot in slots]
    rivals = [
        None if slot is None or slot.entrant.method == TRUE else findings.summary(slot, quantity)
        for slot in slots
    ]
    best = best_of(rivals, lower=lower)
    if best is not None:
        texts[best] = Bold(texts[best])
    return texts


def places(
    slots: Sequence[Slot], dataset: str | None, entrants: Sequence[Entrant]
) -> list[Slot | None]:
    """Of each entrant, its place for a data set, or the one that needs no data."""
    found = {(slot.dataset, slot.entrant): slot for slot in slots}
    return [found.get((dataset, e), found.get((None, e))) for e in entrants]


def blocks(slots: Sequence[Slot]) -> list[str | None]:
    """Data sets of a table's blocks; one block without, if nothing learns from data."""
    found: list[str | None] = [*datasets_of(slots)]
    return found or [None]


def agents_of(findings: Findings, slots: Sequence[Slot]) -> list[int]:
    """Agents of which there is something."""
    groups = (findings.by_slot.get(slot) for slot in slots)
    return sorted({agent for group in groups if group for agent in group.cell.agents})


def people(task: str, agents: Sequence[int]) -> str:
    """The test agents' covariates, for captions."""
    population = SUITES[task].population({"size": max(agents, default=0) + 1, "seed": 0})
    said = (f"{agent}: {', '.join(f'{v:g}' for v in population.values[agent])}" for agent in agents)
    names = " and ".join(population.names)
    return f"Agents by {names}: {'; '.join(said)}."


# -- prediction ------------------------------------------------------------------------------------


def prediction_tables(findings: Findings) -> list[Table]:
    """Open-loop error of each test agent, a table for each task and kind of policy."""
    return [
        _prediction(findings, task, policy)
        for task in findings.tasks("prediction")
        for policy in POLICIES
    ]


def _prediction(findings: Findings, task: str, policy: str) -> Table:
    slots = findings.main_slots("prediction", task)
    entrants, agents = entrants_of(slots), agents_of(findings, slots)
    datasets = blocks(slots)
    judged: list[int | str] = [*agents, ALL]
    beside = policy == "test-policy" and "random" in datasets and task in references.RMSE
    rows = []
    for dataset in datasets:
        own = places(slots, dataset, entrants)
        for agent in judged:
            quantity = Quantity("rmse", agent, policy)
            cells = line(findings, own, quantity, lower=True)
            if agent != ALL:
                r2 = Quantity("r2", agent, policy)
                cells = [
                    _with_r2(cell, findings.summary(slot, r2))
                    for cell, slot in zip(cells, own, strict=True)
                ]
            if beside:
                cells.append(_authors_error(task, agent) if dataset == "random" else NOTHING)
            rows.append((dataset or NOTHING, _agent(agent, "geometric mean"), *cells))
    titles = [e.title for e in entrants] + [references.TITLE] * beside
    caption = (
        f"Open-loop RMSE under {POLICIES[policy]}: after ten real steps the prediction goes on "
        f"from itself. In brackets the median R2 over episodes. {SPREAD}; the last row of a data "
        f"set is the geometric mean over agents. Less is better. {people(task, agents)}"
    )
    return Table(
        f"prediction-{task}-{policy}",
        f"{SUITES[task].title}: prediction error under {POLICIES[policy]}",
        f"{caption} {references.CAPTION}" if beside else caption,
        ("data set", "agent", *titles),
        tuple(rows),
    )


def _with_r2(cell: str, r2: Summary | None) -> str:
    if r2 is None:
        return cell
    text = f"{cell} ({r2_text(r2.mean)})"
    return Bold(text) if isinstance(cell, Bold) else text


def _agent(agent: int | str, together: str) -> str:
    return together if agent == ALL else str(agent)


def _authors_error(task: str, agent: int | str) -> str:
    if agent == ALL:
        return number(references.RMSE_ALL[task])
    k = int(agent)
    errors, r2 = references.RMSE[task].values, references.R2[task].values
    if k >= len(errors):
        return NOTHING
    return f"{number(errors[k])} ({_rounded(r2[k])})"


def _rounded(r2: float) -> str:
    """R2 as it was measured: to three digits."""
    return f"{r2:.3f}".replace("-", "\N{MINUS SIGN}")


def prediction_parts(findings: Findings) -> list[Table]:
    """Error by horizon and by coordinate, geometric means over the agents."""
    tables = []
    for task in findings.tasks("prediction"):
        slots = findings.main_slots("prediction", task)
        groups = [group for slot in slots if (group := findings.by_slot.get(slot))]
        measures = list(dict.fromkeys(name.measure for g in groups for name in g.values))
        after = [f"rmse after {steps} steps" for steps in STEPS]
        coordinates = [name for name in measures if name.startswith("rmse of ")]
        for kind, column, chosen, cut in (
            ("horizon", "steps", [name for name in after if name in measures], (11, -6)),
            ("coordinate", "coordinate", coordinates, (8, None)),
        ):
            table = _parts(findings, task, slots, (kind, column), chosen, slice(*cut))
            tables.append(table)
    return tables


def _parts(
    findings: Findings,
    task: str,
    slots: Sequence[Slot],
    kind: tuple[str, str],
    measures: Sequence[str],
    cut: slice,
) -> Table:
    entrants = entrants_of(slots)
    rows = []
    for dataset in blocks(slots):
        own = places(slots, dataset, entrants)
        for measure in measures:
            quantity = Quantity(measure, ALL, "test-policy")
            cells = line(findings, own, quantity, lower=True)
            rows.append((dataset or NOTHING, measure[cut], *cells))
    what = (
        "after a number of open-loop steps, over the episodes that live so long"
        if kind[0] == "horizon"
        else "of each coordinate alone, in its own unit"
    )
    return Table(
        f"prediction-{task}-{kind[0]}",
        f"{SUITES[task].title}: prediction error by {kind[0]}",
        f"RMSE {what}, under the test policy; geometric mean over agents. {SPREAD}.",
        ("data set", kind[1], *(e.title for e in entrants)),
        tuple(rows),
    )


# -- reward ----------------------------------------------------------------------------------------


def reward_tables(findings: Findings) -> list[Table]:
    """Returns of each test agent, a table for each task."""
    return [_reward(findings, task) for task in findings.tasks("reward")]


def _reward(findings: Findings, task: str) -> Table:
    slots = findings.main_slots("reward", task)
    entrants, agents = entrants_of(slots), agents_of(findings, slots)
    datasets = blocks(slots)
    judged: list[int | str] = [*agents, ALL]
    beside = "random" in datasets and task in references.MPC
    rows = []
    for dataset in datasets:
        own = places(slots, dataset, entrants)
        for agent in judged:
            quantity = Quantity("return", agent)
            cells = line(findings, own, quantity, lower=False, say=returned)
            if beside:
                cells.append(_authors_return(task, agent) if dataset == "random" else NOTHING)
            rows.append((dataset or NOTHING, _agent(agent, "mean"), *cells))
    titles = [e.title for e in entrants] + [references.TITLE] * beside
    caption = (
        f"Return in the true environment. {SPREAD}, each seed's value the mean over its "
        f"episodes.{_cut(findings, slots)}{_broken(findings, slots)} Those that learn from no "
        "data are the same for every data set; the one that plans in the true dynamics is the mark "
        "to reach. More is better. "
        f"{people(task, agents)}"
    )
    return Table(
        f"reward-{task}",
        f"{SUITES[task].title}: return",
        f"{caption} {references.CAPTION}" if beside else caption,
        ("data set", "agent", *titles),
        tuple(rows),
    )


def _cut(findings: Findings, slots: Sequence[Slot]) -> str:
    """Which episodes do not last as long as the task's, so that their returns are others."""
    limits: dict[int, dict[str, None]] = {}
    for slot in slots:
        group = findings.by_slot.get(slot)
        steps = None if group is None else group.cell.max_episode_steps
        if slot.experiment == "reward" and steps is not None:
            limits.setdefault(steps, {})[f"{slot.entrant.title} on {SUITES[slot.task].title}"] = (
                None
            )
    said = (f"{steps} steps ({', '.join(names)})" for steps, names in sorted(limits.items()))
    return f" Episodes are cut off after {'; '.join(said)}." if limits else ""


def _broken(findings: Findings, slots: Sequence[Slot]) -> str:
    """In which episodes the true physics broke, so that their returns are those up to there."""
    said = []
    for slot in slots:
        group = findings.by_slot.get(slot)
        counts = {} if group is None or slot.experiment != "reward" else group.values
        for quantity, values in counts.items():
            if quantity.measure == STOPPED:
                name = ", ".join(filter(None, [slot.entrant.title, slot.dataset]))
                said.append(f"{sum(values[values > 0]):.0f} of agent {quantity.agent} ({name})")
    return f" Broken physics cut off episodes: {', '.join(said)}." if said else ""


def _authors_return(task: str, agent: int | str) -> str:
    values = references.MPC[task].values
    if agent == ALL:
        return return_text(sum(values) / len(values))
    return return_text(values[int(agent)]) if int(agent) < len(values) else NOTHING


def reference_tables(findings: Findings) -> list[Table]:
    """Returns of the authors' code, for the tasks of the folder."""
    rows = []
    for task in findings.tasks("reward"):
        for what, known in (
            ("MPC in its simulators, random data", references.MPC),
            ("MPC in the exact dynamics", references.TRUE_MPC),
            ("its test policy", references.TEST_POLICY),
        ):
            if task in known:
                own = known[task]
                sds = own.sd or (math.nan,) * len(own.values)
                cells = [
                    return_text(v) + ("" if math.isnan(sd) else f" ± {sd:.1f}")
                    for v, sd in zip(own.values, sds, strict=True)
                ]
                mean = return_text(sum(own.values) / len(own.values))
                rows.append((SUITES[task].title, f"{what} ({own.note})", *cells, mean))
    if not rows:
        return []
    return [
        Table(
            "authors-returns",
            "Returns of the authors' code",
            f"{references.CAPTION} Here ± is over episodes.",
            ("task", "what", *(f"agent {k}" for k in range(5)), "mean"),
            tuple(rows),
        )
    ]


# -- the small table -------------------------------------------------------------------------------


def small_table(findings: Findings, datasets: Sequence[str] | None = None) -> Table:
    """Task by method: error and return over all test agents.

    Args:
        findings: What was found.
        datasets: Data sets to show; all by default. What learns from no data is always there.
    """
    rows = [
        (
            SUITES[task].title, dataset or NOTHING, entrant.title,
            entry(findings, error, _ERROR), entry(findings, reward, _RETURN, returned),
        )
        for task, dataset, entrant, error, reward in _contests(findings)
        if dataset is None or datasets is None or dataset in datasets
    ]  # fmt: skip
    tasks = findings.tasks("reward")
    cut = _cut(findings, [s for task in tasks for s in findings.main_slots("reward", task)])
    return Table(
        "small",
        "Prediction error and return",
        "RMSE: open-loop error over 50 steps under the test policy, geometric mean over the test "
        f"agents. Return: in the true environment, mean over the test agents. {SPREAD}.{cut}",
        ("task", "data set", "method", "RMSE", "return"),
        tuple(rows),
    )


_ERROR, _RETURN = Quantity("rmse", ALL, "test-policy"), Quantity("return")


def small_numbers(findings: Findings) -> list[dict[str, Any]]:
    """The numbers of the small table, as plain types; ``None`` for what is not there."""
    found = []
    for task, dataset, entrant, error, reward in _contests(findings):
        own = {"task": task, "dataset": dataset, "method": entrant.method}
        summaries = findings.summary(error, _ERROR), findings.summary(reward, _RETURN)
        plain = [None if s is None else s.to_json() for s in summaries]
        found.append({**own, "rmse": plain[0], "return": plain[1]})
    return found


def _contests(
    findings: Findings,
) -> Iterator[tuple[str, str | None, Entrant, Slot | None, Slot | None]]:
    """Task, data set, method, and their places in the tables of errors and of returns."""
    tasks = {*findings.tasks("prediction"), *findings.tasks("reward")}
    for task in [task for task in SUITES if task in tasks]:
        both = [findings.main_slots(name, task) for name in ("prediction", "reward")]
        slots = [*both[0], *both[1]]
        for dataset in [*datasets_of(slots), None]:
            for e in entrants_of(slot for slot in slots if slot.dataset == dataset):
                error, reward = (
                    next((s for s in of if (s.dataset, s.entrant) == (dataset, e)), None)
                    for of in both
                )
                yield task, dataset, e, error, reward
