"""The tables beside the main ones: planners, scarcity, unseen agents, latent factors, times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from persim_gym.envs.suites import SUITES
from persim_gym.experiments.presets import INSIDE, INSIDE_PENALTY
from persim_gym.experiments.quantities import ALL, Quantity
from persim_gym.experiments.report.tables import (
    MEAN_SD,
    NOTHING,
    Say,
    Table,
    entry,
    mean_sd,
    returned,
)
from persim_gym.experiments.results import Findings, Slot, Variant, variants_of
from persim_gym.experiments.statistics import Summary
from persim_gym.plots.numbers import duration, number, share

# -- planners --------------------------------------------------------------------------------------


def planner_slots(findings: Findings, task: str) -> list[Slot]:
    """Places in which something is planned, all with the task's number of agents.

    Where there are several planners, only data sets of which there is more than one.
    """
    agents = findings.main_agents(task)
    planned = [
        slot
        for slot in findings.slots
        if slot.experiment == "reward"
        and slot.task == task
        and slot.planner is not None
        and slot.train_agents in (None, agents)
    ]
    planners: dict[str | None, set[str | None]] = {}
    for slot in planned:
        planners.setdefault(slot.dataset, set()).add(slot.planner)
    several = any(len(names) > 1 for names in planners.values())
    return [slot for slot in planned if not several or len(planners[slot.dataset]) > 1]


def planner_tables(findings: Findings) -> list[Table]:
    """Returns and speed of each planner, in learned and true dynamics."""
    rows = []
    for task in findings.tasks("reward"):
        for slot in planner_slots(findings, task):
            planned = (("return", returned), ("decisions per second", _rate))
            cells = [entry(findings, slot, Quantity(name), say) for name, say in planned]
            batch = findings.summary(slot, Quantity("decisions in a batch"))
            rows.append((
                SUITES[task].title, slot.dataset or NOTHING, slot.variant.title, str(slot.planner),
                _search(findings, slot), *cells, NOTHING if batch is None else f"{batch.mean:.0f}",
            ))  # fmt: skip
    caption = (
        f"Return: mean over the test agents. {MEAN_SD}. Decisions a second: of all problems that "
        "are planned as one batch; the last column says how many these are on average."
    )
    head = (
        "task", "data set", "method", "planner", "search", "return", "decisions/s", "in a batch",
    )  # fmt: skip
    return [Table("planners", "Planners", caption, head, tuple(rows))]


def _rate(own: Summary) -> str:
    return number(own.mean) if own.mean < 100 else f"{own.mean:,.0f}"


def _search(findings: Findings, slot: Slot) -> str:
    group = findings.by_slot.get(slot)
    planning = None if group is None else group.rows[0].results.get("planning")
    if not planning:
        return NOTHING
    settings = planning.get("settings", {})
    sizes = [
        f"{settings[name]:,} {name}"
        for name in ("candidates", "iterations")
        if isinstance(settings.get(name), int)
    ]
    if isinstance(settings.get("horizon"), int):
        sizes.append(f"{settings['horizon']} steps")
    return f"{planning['planner']} ({', '.join(sizes)})" if sizes else str(planning["planner"])


def trained_tables(findings: Findings) -> list[Table]:
    """Policies trained inside the simulator beside MPC in it: return, and what it costs."""
    rows = []
    for task in findings.tasks("reward"):
        slots = findings.main_slots("reward", task)
        trained = {slot for slot in slots if slot.variant.method in (*INSIDE, *INSIDE_PENALTY)}
        datasets = {slot.dataset for slot in trained}
        for slot in slots:
            planned = slot.variant.method == "persim" and slot.dataset in datasets
            if not planned and slot not in trained:
                continue
            rows.append((
                SUITES[task].title, slot.dataset or NOTHING, slot.variant.title,
                entry(findings, slot, Quantity("return"), returned),
                *(entry(findings, slot, Quantity(name), _took) for name in _SPENT),
            ))  # fmt: skip
    caption = (
        f"Return: mean over the test agents. {MEAN_SD}. A policy is trained once for each agent, "
        "in its own simulator, and the last one of the training counts; MPC plans anew in each "
        "episode. Times by the clock, without the fit of the simulator."
    )
    head = ("task", "data set", "method", "return", "training, an agent", "planning, an episode")
    return [Table("trained", "Planned and trained in the simulator", caption, head, tuple(rows))]


_SPENT = ("training seconds", "planning seconds")


def _took(own: Summary) -> str:
    return duration(own.mean)


# -- scarcity --------------------------------------------------------------------------------------


def scarce_slots(
    findings: Findings, task: str, experiment: str = "prediction"
) -> dict[tuple[Variant, str], list[Slot]]:
    """Of each method and data set with several numbers of agents, its places in their order."""
    planners = None, findings.main_planner(task)
    found: dict[tuple[Variant, str], list[Slot]] = {}
    for slot in findings.slots:
        here = slot.experiment == experiment and slot.task == task and slot.planner in planners
        if here and slot.dataset is not None:
            found.setdefault((slot.variant, slot.dataset), []).append(slot)
    return {
        key: sorted(slots, key=lambda slot: slot.train_agents or 0)
        for key, slots in found.items()
        if len(slots) > 1
    }


def scarcity_tables(findings: Findings) -> list[Table]:
    """Error against the number of agents in the data."""
    caption = (
        "Open-loop RMSE under the test policy by the number of agents in the data, one trajectory "
        f"each; geometric mean over the test agents, who are among them. {MEAN_SD}."
    )
    quantity = Quantity("rmse", ALL, "test-policy")
    return [_scarcity(findings, "prediction", quantity, caption, "scarcity")]


def scarce_return_tables(findings: Findings) -> list[Table]:
    """Return against the number of agents in the data."""
    caption = (
        "Return in the true environment by the number of agents in the data, one trajectory each; "
        f"mean over the test agents, who are among them. {MEAN_SD}. More is better."
    )
    return [_scarcity(findings, "reward", Quantity("return"), caption, "scarcity-return", returned)]


def _scarcity(
    findings: Findings,
    experiment: str,
    quantity: Quantity,
    caption: str,
    name: str,
    say: Say = mean_sd,
) -> Table:
    lines: list[tuple[tuple[str, ...], list[Slot]]] = [
        ((SUITES[task].title, dataset, variant.title), slots)
        for task in findings.tasks(experiment)
        for (variant, dataset), slots in scarce_slots(findings, task, experiment).items()
    ]
    counts = sorted({slot.train_agents or 0 for _, slots in lines for slot in slots})
    rows = []
    for names, slots in lines:
        own = {slot.train_agents: slot for slot in slots}
        cells = (entry(findings, own.get(count), quantity, say) for count in counts)
        rows.append((*names, *cells))
    head = ("task", "data set", "method", *(f"{count} agents" for count in counts))
    title = "Fewer agents in the data" + (": return" if experiment == "reward" else "")
    return Table(name, title, caption, head, tuple(rows))


# -- unseen agents ---------------------------------------------------------------------------------


def unseen_slots(findings: Findings) -> list[Slot]:
    """Places of the experiment on unseen agents."""
    return [slot for slot in findings.slots if slot.experiment == "unseen"]


def known_of(findings: Findings, slots: Iterable[Slot]) -> list[str]:
    """What is known of unseen agents: the mean, covariates, then numbers of transitions."""
    groups = [group for slot in slots if (group := findings.by_slot.get(slot))]
    names = {name.known for group in groups for name in group.values if name.known is not None}
    order = ("mean", "covariates")
    return sorted(names, key=lambda name: int(name) if name.isdigit() else -2 + order.index(name))


def unseen_tables(findings: Findings) -> list[Table]:
    """Error for agents that were not in training, by what is known of them."""
    slots = unseen_slots(findings)
    known = known_of(findings, slots)
    rows = [
        (
            SUITES[slot.task].title, str(slot.dataset), slot.variant.title,
            *(entry(findings, slot, Quantity("median rmse", ALL, None, name)) for name in known),
        )
        for slot in slots
    ]  # fmt: skip
    names = {"mean": "the mean agent", "covariates": "covariates", "1": "1 transition"}
    head = [names.get(name, f"{name} transitions") for name in known]
    caption = (
        "Open-loop RMSE under the test policy for agents that were left out of the fit, by what is "
        "known of them: nothing (the population's mean agent), their covariates, or some "
        f"transitions of random actions. Median over these agents. {MEAN_SD}."
    )
    return [
        Table(
            "unseen", "Agents that were not in training", caption,
            ("task", "data set", "method", *head), tuple(rows),
        )
    ]  # fmt: skip


# -- latent factors --------------------------------------------------------------------------------


def latent_slots(findings: Findings) -> list[Slot]:
    """Places of the experiment on latent factors."""
    return [slot for slot in findings.slots if slot.experiment == "latent"]


def latent_tables(findings: Findings) -> list[Table]:
    """How well hidden covariates can be read off the latent factors."""
    slots = latent_slots(findings)
    covariates: dict[str, list[str]] = {}
    for slot in slots:
        group = findings.by_slot.get(slot)
        for name in () if group is None else group.values:
            if name.measure.startswith("r2 of "):
                names = covariates.setdefault(slot.task, [])
                if name.measure[6:] not in names:
                    names.append(name.measure[6:])
    rows = [
        (
            SUITES[slot.task].title, str(slot.dataset), slot.variant.title, covariate,
            entry(findings, slot, Quantity(f"r2 of {covariate}"), _share),
            entry(findings, slot, Quantity(f"rank correlation of {covariate}"), _share),
        )
        for slot in slots
        for covariate in covariates.get(slot.task, [NOTHING])
    ]  # fmt: skip
    caption = (
        "R2 with which a nonlinear probe reads covariates off the latent factors, of agents that "
        f"it was not fitted on, and their rank correlation. {MEAN_SD}."
    )
    head = ("task", "data set", "method", "what", "R2", "rank correlation")
    return [Table("latent", "Latent factors", caption, head, tuple(rows))]


def _share(own: Summary) -> str:
    text = share(own.mean).replace("-", "\N{MINUS SIGN}")
    return text if np.isnan(own.sd) else f"{text} ± {number(own.sd)}"


# -- time ------------------------------------------------------------------------------------------


def fit_seconds(findings: Findings) -> dict[tuple[str, Variant, int], list[float]]:
    """Seconds of each fit, by task, method and agents in the data.

    Cells that learn the same share a fit: the first of them has the time, the others that of
    reading it from disk. Who fits has read data, too; where no row is left of the one who did, as
    after a kill, the time is not known.
    """
    fits: dict[str, tuple[tuple[str, Variant, int], float]] = {}
    for row in findings.rows:
        cell = row.cell
        if cell.fit_key is None or "data" not in row.seconds:
            continue
        name = (cell.task, Variant(cell.method, cell.fit), cell.train_agents)
        known = fits.get(cell.fit_key, (name, 0.0))[1]
        fits[cell.fit_key] = name, max(known, float(row.seconds.get("fit", 0.0)))
    found: dict[tuple[str, Variant, int], list[float]] = {}
    for name, seconds in fits.values():
        found.setdefault(name, []).append(seconds)
    return found


def time_tables(findings: Findings) -> list[Table]:
    """Time of a fit and of each experiment."""
    fits = fit_seconds(findings)
    experiments = ("prediction", "reward", "unseen", "latent")
    rows = []
    for task in findings.seeds:
        slots = [slot for name in experiments for slot in findings.main_slots(name, task)]
        slots += [slot for slot in unseen_slots(findings) if slot.task == task]
        agents = findings.main_agents(task) or 0
        for variant in variants_of(slots):
            cells = [_seconds(fits.get((task, Variant(variant.method, variant.fit), agents), ()))]
            for experiment in experiments:
                own = [s for s in slots if (s.experiment, s.variant) == (experiment, variant)]
                groups = [group for s in own if (group := findings.by_slot.get(s))]
                times = [float(r.seconds.get("run", 0)) for g in groups for r in g.rows]
                cells.append(_seconds(times))
            rows.append((SUITES[task].title, variant.title, *cells))
    caption = (
        "Time by the clock: of a fit on the main number of agents (mean ± standard deviation over "
        "data sets and seeds), and of judging one cell. Cells that ran beside each other share a "
        "machine, so that these are upper bounds."
    )
    head = ("task", "method", "fit", *experiments)
    return [Table("time", "Time", caption, head, tuple(rows))]


def _seconds(values: Sequence[float]) -> str:
    if len(values) == 0:
        return NOTHING
    mean = duration(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {duration(float(np.std(values, ddof=1)))}"
