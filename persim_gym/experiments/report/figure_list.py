"""Which figures a report has, where they stand and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    found: list[Drawing] = []
    for task in findings.tasks("prediction"):
        if _any(findings, findings.main_slots("prediction", task)):
            found.append(
                Drawing(
                    f"horizon-{task}", "prediction", f"{SUITES[task].title}: error by open-loop steps",
                    f"{SUITES[task].title}: error after a number of open-loop steps under the test "
                    f"policy, geometric mean over agents. {INTERVALS}",
                    partial(horizon_figure, findings, task),
                )
            )  # fmt: skip
    for task in findings.tasks("reward"):
        if _any(findings, findings.main_slots("reward", task)):
            found.append(
                Drawing(
                    f"returns-{task}", "reward", f"{SUITES[task].title}: returns of each agent",
                    f"{SUITES[task].title}: returns in the true environment. Interquartile means over "
                    "seeds and episodes, bars are 95 % intervals, of one seed none.",
                    partial(returns_figure, findings, task),
                )
            )  # fmt: skip
    rate = Quantity("decisions per second")
    planned = {task: planner_slots(findings, task) for task in findings.tasks("reward")}
    planned = {
        task: kept
        for task, slots in planned.items()
        if (kept := [slot for slot in slots if findings.summary(slot, rate)])
    }
    if planned:
        found.append(
            Drawing(
                "planners", "planners", "Return against decisions a second",
                "Return against speed: hollow where planned in the true dynamics. Further right is "
                f"faster, further up is better. {INTERVALS}",
                partial(planners_figure, findings, planned),
            )
        )  # fmt: skip
    if any(scarce_slots(findings, task) for task in findings.tasks("prediction")):
        found.append(
            Drawing(
                "scarcity", "scarcity", "Error against the number of agents in the data",
                "Error for the test agents by how many agents have recorded a trajectory, under "
                f"the test policy. {INTERVALS}",
                partial(scarcity_figure, findings),
            )
        )  # fmt: skip
    if _any(findings, unseen_slots(findings)):
        found.append(
            Drawing(
                "unseen", "unseen", "Error for agents that were not in training",
                "Error for agents that were not in training, median over them, by how many of "
                f"their transitions are known. {INTERVALS}",
                partial(unseen_figure, findings),
            )
        )  # fmt: skip
    for slot in _shown_latent(findings):
        found.append(
            Drawing(
                f"latent-{slot.task}", "latent",
                f"{SUITES[slot.task].title}: covariates and latent factors",
                f"{SUITES[slot.task].title}, data set {slot.dataset}, {slot.entrant.title}, first seed: "
                "a point is an agent, the circles are the test agents.",
                partial(latent_factors, probe_of(findings, slot)),
            )
        )  # fmt: skip
    return found


def _shown_latent(findings: Findings) -> list[Slot]:
    """One place of each task: of the first method, with random data if there are."""
    found: dict[str, Slot] = {}
    for slot in latent_slots(findings):
        if slot in findings.by_slot and slot.train_agents == findings.main_agents(slot.task):
            first = found.setdefault(slot.task, slot)
            if slot.entrant == first.entrant and slot.dataset == "random":
                found[slot.task] = slot
    return list(found.values())


def _any(findings: Findings, slots: Iterable[Slot]) -> bool:
    return any(slot in findings.by_slot for slot in slots)
