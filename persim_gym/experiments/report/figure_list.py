"""Which figures a report has, where they stand and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from persim_gym.envs.suites import SUITES
from persim_gym.experiments.quantities import Quantity
from persim_gym.experiments.report.figures import (
    horizon_figure,
    planners_figure,
    probe_of,
    returns_figure,
    scarcity_figure,
    unseen_figure,
)
from persim_gym.experiments.report.side_tables import (
    latent_slots,
    planner_slots,
    scarce_slots,
    unseen_slots,
)
from persim_gym.experiments.results import Findings, Slot
from persim_gym.plots.figures import latent_factors
from persim_gym.plots.style import Theme


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of the report.

    Attributes:
        name: Of its files.
        section: Where on the page it stands.
        alt: What is to be seen, for those who cannot see it.
        caption: What a reader has to know.
        draw: Draws it in the ``theme`` that it is given.
    """

    name: str
    section: str
    alt: str
    caption: str
    draw: Callable[..., Figure]


INTERVALS = "Interquartile means over seeds; bands and bars are 95 % intervals, of one seed none."


def drawings(findings: Findings) -> list[Drawing]:
    """The figures for which there is something to draw."""
    return [
        *_of_tasks(findings, "prediction"), *_of_tasks(findings, "reward"), *_planners(findings),
        *_over_tasks(findings), *_latent(findings),
    ]  # fmt: skip


def _of_tasks(findings: Findings, section: str) -> Iterator[Drawing]:
    """A figure for each task of an experiment."""
    name, alt, text, draw = {
        "prediction": (
            "horizon", "error by open-loop steps",
            "error after a number of open-loop steps under the test policy, geometric mean over "
            f"agents. {INTERVALS}", horizon_figure,
        ),
        "reward": (
            "returns", "returns of each agent",
            "returns in the true environment. Interquartile means over seeds and episodes, bars "
            "are 95 % intervals, of one seed none. What lies far beyond the others stands at the "
            "edge, with an arrow and its value.", returns_figure,
        ),
    }[section]  # fmt: skip
    for task in findings.tasks(section):
        if any(slot in findings.by_slot for slot in findings.main_slots(section, task)):
            title = SUITES[task].title
            yield Drawing(
                f"{name}-{task}", section, f"{title}: {alt}", f"{title}: {text}",
                partial(draw, findings, task),
            )  # fmt: skip


def _planners(findings: Findings) -> Iterator[Drawing]:
    rate = Quantity("decisions per second")
    planned = {
        task: [slot for slot in planner_slots(findings, task) if findings.summary(slot, rate)]
        for task in findings.tasks("reward")
    }
    planned = {task: slots for task, slots in planned.items() if slots}
    if planned:
        yield Drawing(
            "planners", "planners", "Return against decisions a second",
            "Return against speed: hollow where planned in the true dynamics. Further right is "
            "faster, further up is better. What lies far beyond the others stands at the edge, "
            f"with an arrow and its value. {INTERVALS}",
            partial(planners_figure, findings, planned),
        )  # fmt: skip


def _over_tasks(findings: Findings) -> Iterator[Drawing]:
    """Fewer agents, and agents that were not in training: all tasks in one figure."""
    if any(scarce_slots(findings, task) for task in findings.tasks("prediction")):
        yield Drawing(
            "scarcity", "scarcity", "Error against the number of agents in the data",
            "Error for the test agents by how many agents have recorded a trajectory, under the "
            f"test policy. {INTERVALS}", partial(scarcity_figure, findings),
        )  # fmt: skip
    if any(slot in findings.by_slot for slot in unseen_slots(findings)):
        yield Drawing(
            "unseen", "unseen", "Error for agents that were not in training",
            "Error for agents that were not in training, median over them, by how many of their "
            f"transitions are known. {INTERVALS}", partial(unseen_figure, findings),
        )  # fmt: skip


def _latent(findings: Findings) -> Iterator[Drawing]:
    """One place of each task: of the first method, with random data if there are."""
    found: dict[str, Slot] = {}
    for slot in latent_slots(findings):
        if slot in findings.by_slot and slot.train_agents == findings.main_agents(slot.task):
            first = found.setdefault(slot.task, slot)
            if slot.variant == first.variant and slot.dataset == "random":
                found[slot.task] = slot
    for task, slot in found.items():
        title = SUITES[task].title
        yield Drawing(
            f"latent-{task}", "latent", f"{title}: covariates and latent factors",
            f"{title}, data set {slot.dataset}, {slot.variant.title}, first seed: a point is an "
            "agent, the circles are the test agents.",
            partial(_latent_figure, findings, slot),
        )  # fmt: skip


def _latent_figure(findings: Findings, slot: Slot, theme: Theme) -> Figure:
    return latent_factors(probe_of(findings, slot), theme=theme)
