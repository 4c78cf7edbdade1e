"""The paper's main tables: prediction error and reward of each test agent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.coordinates import (
    PAPER_COLUMN,
    PAPER_RMSE,
    RMSE,
    headline_of,
    with_unit,
)
from persim_gym.experiments import published
from persim_gym.experiments.quantities import ALL, STOPPED, Quantity
from persim_gym.experiments.report.tables import (
    MEAN_SD,
    NOTHING,
    POLICIES,
    STEPS,
    Say,
    Table,
    agents_of,
    blocks,
    covariates_of,
    entry,
    line,
    mean_sd,
    places,
    returned,
)
from persim_gym.experiments.results import Findings, Slot, Variant, datasets_of, variants_of
from persim_gym.experiments.statistics import Summary
from persim_gym.pages import Bold
from persim_gym.plots.numbers import number, r2_text, return_text

#: The cells of a line: of these places and this agent.
Cells = Callable[[Sequence[Slot | None], int | str], list[str]]
#: The authors' number of an agent, beside random data.
Authors = Callable[[int | str], str]


def agent_table(
    findings: Findings,
    slots: Sequence[Slot],
    about: tuple[str, str, str],
    cells: Cells,
    together: str,
    authors: Authors | None,
) -> Table:
    """A table of places with a line for each data set and agent.

    Args:
        findings: What was found.
        slots: Places of one experiment and task.
        about: Name, title and caption.
        cells: Makes the cells of a line.
        together: What the line of all agents together is called.
        authors: Makes the column of the authors' code.
    """
    name, title, caption = about
    variants, agents, datasets = variants_of(slots), agents_of(findings, slots), blocks(slots)
    if "random" not in datasets:
        authors = None
    rows = []
    judged: list[int | str] = [*agents, ALL]
    for dataset in datasets:
        own = places(slots, dataset, variants)
        for agent in judged:
            line_cells = cells(own, agent)
            if authors is not None:
                line_cells.append(authors(agent) if dataset == "random" else NOTHING)
            who = together if agent == ALL else str(agent)
            rows.append((dataset or NOTHING, who, *line_cells))
    caption = f"{caption} {covariates_of(slots[0].task, agents)}" if slots else caption
    titles = [variant.title for variant in variants]
    if authors is not None:
        titles.append(published.TITLE)
        caption = f"{caption} {published.CAPTION}"
    return Table(name, title, caption, ("data set", "agent", *titles), tuple(rows))


# -- prediction ------------------------------------------------------------------------------------


def prediction_tables(findings: Findings) -> list[Table]:
    """Open-loop error of each test agent, a table for each task and kind of policy."""
    return [
        _prediction(findings, task, policy)
        for task in findings.tasks("prediction")
        for policy in POLICIES
    ]


def _prediction(findings: Findings, task: str, policy: str) -> Table:
    def cells(own: Sequence[Slot | None], agent: int | str) -> list[str]:
        texts = line(findings, own, Quantity("rmse", agent, policy), lower=True)
        if agent == ALL:
            return texts
        r2 = [findings.summary(slot, Quantity("r2", agent, policy)) for slot in own]
        return [_with_r2(text, explained) for text, explained in zip(texts, r2, strict=True)]

    title = f"{SUITES[task].title}: the paper's prediction error under {POLICIES[policy]}"
    caption = (
        f"{PAPER_RMSE}. Open loop under {POLICIES[policy]}: after ten real steps the prediction "
        f"goes on from itself. In brackets the median R2 over episodes. {MEAN_SD}; the last row of "
        "a data set is the geometric mean over agents. Less is better."
    )
    measured = policy == "test-policy" and task in published.RMSE
    return agent_table(
        findings, findings.main_slots("prediction", task),
        (f"prediction-{task}-{policy}", title, caption), cells, "geometric mean",
        (lambda agent: _authors_error(task, agent)) if measured else None,
    )  # fmt: skip


def _with_r2(cell: str, r2: Summary | None) -> str:
    if r2 is None:
        return cell
    text = f"{cell} ({r2_text(r2.mean)})"
    return Bold(text) if isinstance(cell, Bold) else text


def _authors_error(task: str, agent: int | str) -> str:
    if agent == ALL:
        return number(published.RMSE_ALL[task])
    errors, r2 = published.RMSE[task].values, published.R2[task].values
    if int(agent) >= len(errors):
        return NOTHING
    measured = f"{r2[int(agent)]:.3f}".replace("-", "\N{MINUS SIGN}")  # to three digits
    return f"{number(errors[int(agent)])} ({measured})"


def prediction_parts(findings: Findings) -> list[Table]:
    """Error by coordinate and by horizon, geometric means over the agents."""
    tables = []
    for task in findings.tasks("prediction"):
        slots = findings.main_slots("prediction", task)
        groups = [group for slot in slots if (group := findings.by_slot.get(slot))]
        measures = list(dict.fromkeys(name.measure for g in groups for name in g.values))
        after = [f"rmse after {steps} steps" for steps in STEPS]
        coordinates = [name for name in measures if name.startswith("rmse of ")]
        for kind, column, chosen, cut in (
            ("coordinate", "coordinate", coordinates, (8, None)),
            ("horizon", "steps", [name for name in after if name in measures], (11, -6)),
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
    variants = variants_of(slots)
    rows = []
    for dataset in blocks(slots):
        own = places(slots, dataset, variants)
        for measure in measures:
            quantity = Quantity(measure, ALL, "test-policy")
            cells = line(findings, own, quantity, lower=True)
            rows.append((dataset or NOTHING, measure[cut], *cells))
    what = (
        f"{PAPER_RMSE}: after a number of open-loop steps, over the episodes that live so long"
        if kind[0] == "horizon"
        else RMSE
    )
    return Table(
        f"prediction-{task}-{kind[0]}",
        f"{SUITES[task].title}: prediction error by {kind[0]}",
        f"{what}; under the test policy, geometric mean over agents. {MEAN_SD}.",
        ("data set", kind[1], *(e.title for e in variants)),
        tuple(rows),
    )


# -- reward ----------------------------------------------------------------------------------------


def reward_tables(findings: Findings) -> list[Table]:
    """Returns of each test agent, a table for each task."""
    return [_reward(findings, task) for task in findings.tasks("reward")]


def _reward(findings: Findings, task: str) -> Table:
    slots = findings.main_slots("reward", task)

    def cells(own: Sequence[Slot | None], agent: int | str) -> list[str]:
        return line(findings, own, Quantity("return", agent), lower=False, say=returned)

    caption = (
        f"Return in the true environment. {MEAN_SD}, each seed's value the mean over its "
        f"episodes.{cut_off(findings, slots)}{_broken(findings, slots)} Methods that learn from no "
        "data are the same for every data set; the one that plans in the true dynamics is the mark "
        "to reach. More is better."
    )
    return agent_table(
        findings, slots, (f"reward-{task}", f"{SUITES[task].title}: return", caption), cells,
        "mean", (lambda agent: _authors_return(task, agent)) if task in published.MPC else None,
    )  # fmt: skip


def cut_off(findings: Findings, slots: Sequence[Slot]) -> str:
    """Which episodes do not last as long as the task's, so that their returns are others."""
    limits: dict[int, dict[str, None]] = {}
    for slot in slots:
        group = findings.by_slot.get(slot)
        steps = None if group is None else group.cell.max_episode_steps
        if slot.experiment == "reward" and steps is not None:
            limits.setdefault(steps, {})[f"{slot.variant.title} on {SUITES[slot.task].title}"] = (
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
                name = ", ".join(filter(None, [slot.variant.title, slot.dataset]))
                said.append(f"{sum(values[values > 0]):.0f} of agent {quantity.agent} ({name})")
    return f" Broken physics cut off episodes: {', '.join(said)}." if said else ""


def _authors_return(task: str, agent: int | str) -> str:
    values = published.MPC[task].values
    if agent == ALL:
        return return_text(sum(values) / len(values))
    return return_text(values[int(agent)]) if int(agent) < len(values) else NOTHING


def published_tables(findings: Findings) -> list[Table]:
    """Returns of the authors' code, for the tasks of the folder."""
    rows = []
    for task in findings.tasks("reward"):
        for what, known in (
            ("MPC in its simulators, random data", published.MPC),
            ("MPC in the exact dynamics", published.TRUE_MPC),
            ("its test policy", published.TEST_POLICY),
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
            f"{published.CAPTION} Here ± is over episodes.",
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
            SUITES[task].title, dataset or NOTHING, variant.title,
            entry(findings, error, _headline(task), _in_unit_of(task)),
            entry(findings, error, _ERROR), entry(findings, reward, _RETURN, returned),
        )
        for task, dataset, variant, error, reward in _small_lines(findings)
        if dataset is None or datasets is None or dataset in datasets
    ]  # fmt: skip
    tasks = findings.tasks("reward")
    cut = cut_off(findings, [s for task in tasks for s in findings.main_slots("reward", task)])
    shown = dict.fromkeys(row[0] for row in rows)
    named = [suite for suite in SUITES.values() if suite.title in shown]
    which = "; ".join(f"{suite.title}: {headline_of(suite.name)}" for suite in named)
    return Table(
        "small",
        "Prediction error and return",
        f"{RMSE}. Here it is that of one coordinate of each task ({which}), over 50 open-loop "
        "steps under the test policy, geometric mean over the test agents; the others follow "
        f"below. {PAPER_RMSE}. Return: in the true environment, mean over the test agents. "
        f"{MEAN_SD}.{cut}",
        ("task", "data set", "method", "RMSE", PAPER_COLUMN, "return"),
        tuple(rows),
    )


_ERROR, _RETURN = Quantity("rmse", ALL, "test-policy"), Quantity("return")


def _headline(task: str) -> Quantity:
    return Quantity(f"rmse of {headline_of(task)}", ALL, "test-policy")


def _in_unit_of(task: str) -> Say:
    return lambda own: with_unit(mean_sd(own), headline_of(task))


def small_numbers(findings: Findings) -> list[dict[str, Any]]:
    """The numbers of the small table, as plain types; ``None`` for what is not there."""
    found = []
    for task, dataset, variant, error, reward in _small_lines(findings):
        own = {"task": task, "dataset": dataset, "method": variant.method}
        summaries = {
            "headline_rmse": findings.summary(error, _headline(task)),
            "rmse": findings.summary(error, _ERROR),
            "return": findings.summary(reward, _RETURN),
        }
        plain = {name: None if s is None else s.to_json() for name, s in summaries.items()}
        found.append({**own, "headline": headline_of(task), **plain})
    return found


def _small_lines(
    findings: Findings,
) -> Iterator[tuple[str, str | None, Variant, Slot | None, Slot | None]]:
    """Task, data set, method, and their places in the tables of errors and of returns."""
    tasks = {*findings.tasks("prediction"), *findings.tasks("reward")}
    for task in [task for task in SUITES if task in tasks]:
        both = [findings.main_slots(name, task) for name in ("prediction", "reward")]
        slots = [*both[0], *both[1]]
        for dataset in [*datasets_of(slots), None]:
            for e in variants_of(slot for slot in slots if slot.dataset == dataset):
                error, reward = (
                    next((s for s in of if (s.dataset, s.variant) == (dataset, e)), None)
                    for of in both
                )
                yield task, dataset, e, error, reward
