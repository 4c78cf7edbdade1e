"""What cells are expected to take, and what is left of a run: a table, corrected by the run itself.

The table was measured on one core of a laptop's kind; only its proportions matter, because every
cell that is done corrects it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from persim_gym.envs.suites import SUITES
from persim_gym.experiments import trained_inside
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.methods import ALONE, METHODS, TOGETHER
from persim_gym.experiments.presets import BASELINES, CONTINUOUS, INSIDE, INSIDE_PENALTY

#: Seconds of a fit, by task and method; of methods that are not listed here, a minute.
FITS = {
    ("mountain-car", "persim"): 5.0,
    ("cartpole", "persim"): 9.0,
    ("half-cheetah", "persim"): 500.0,
    ("mountain-car", "one-for-all"): 11.0,
    ("cartpole", "one-for-all"): 7.0,
    ("half-cheetah", "one-for-all"): 500.0,
    ("mountain-car", "persim-networks"): 90.0,
    ("cartpole", "persim-networks"): 120.0,
    ("half-cheetah", "persim-networks"): 500.0,
    ("mountain-car", "persim-paper"): 1000.0,
    ("cartpole", "persim-paper"): 1000.0,
    ("half-cheetah", "persim-paper"): 50_000.0,
    ("half-cheetah", "persim-in-support"): 600.0,
    # Five trainings in the simulator.
    **{("mountain-car", name): 120.0 for name in ("persim-dqn", "persim-dqn-penalty")},
    **{("cartpole", name): 60.0 for name in ("persim-dqn", "persim-dqn-penalty")},
    **{("half-cheetah", name): 350.0 for name in ("persim-sac", "persim-sac-penalty")},
    # 91 ms an update of BCQ, 214 ms one of CQL, on a busy core.
    ("half-cheetah", "bcq-p"): 910.0,
    ("half-cheetah", "bcq-a"): 2275.0,
    ("half-cheetah", "cql-p"): 2140.0,
    ("half-cheetah", "cql-a"): 5350.0,
    # Beside their updates the simulator's fit and 25 episodes of planning.
    ("half-cheetah", "persim-bcq-5"): 4300.0,
    ("half-cheetah", "persim-cql-5"): 7400.0,
    # Actions are sampled in all recorded states: 4.4 ms each.
    ("half-cheetah", "sfbc-p"): 2300.0,
    ("half-cheetah", "sfbc-a"): 275.0,
}
#: Baselines, on any task; of single agents five fits.
BASELINE_FITS = {
    "bcq-p": 25.0, "bcq-a": 65.0, "cql-p": 25.0, "cql-a": 65.0, "persim-bcq-5": 90.0,
    "persim-cql-5": 90.0, "vanilla-cadm": 20.0, "pets-cadm": 50.0, "morel-p": 25.0,
    "morel-a": 100.0,
}  # fmt: skip
OTHER_FIT = 60.0

#: Updates of the usual fits, where the paper's setting has more.
UPDATES = {
    name: (TOGETHER if name.endswith("-p") else ALONE)["updates"]
    for name in (*BASELINES, *CONTINUOUS)
}

#: Milliseconds of planning one step of one episode in a learned model; a third in true dynamics.
DECISIONS = {"mountain-car": 1.0, "cartpole": 1.5, "half-cheetah": 60.0}
#: The same of baselines, in times of that.
SLOWER = {"vanilla-cadm": 1.5, "pets-cadm": 5.0, "persim-in-support": 3.0}
#: The same where plans are of 150 steps, and for some agents none of them arrives.
SLOWER_ON = {("mountain-car", "pets-cadm"): 14.0, ("mountain-car", "vanilla-cadm"): 3.0}

#: Seconds of the other experiments, which all agents and episodes pass as one batch.
JUDGED = {"prediction": 0.2, "latent": 0.05, "unseen": 1.0}


def _length(cell: Cell) -> float:
    """How long the fit is that a cell's options ask for, in times of its method's usual one."""
    given = dict(cell.fit)
    usual = trained_inside.STEPS if cell.method in (*INSIDE, *INSIDE_PENALTY) else {}
    if cell.task in usual and "steps" in given:
        return float(given["steps"]) / usual[cell.task]
    if cell.method in UPDATES and "updates" in given:
        return float(given["updates"]) / UPDATES[cell.method]
    return 1.0


def expected_seconds(cell: Cell, fitted: bool = False) -> tuple[float, float]:
    """Seconds that learning and judging are expected to take.

    Args:
        cell: The cell.
        fitted: What it learns is on disk already.
    """
    learns = cell.fit_key is not None and not fitted
    usual_fit = BASELINE_FITS.get(cell.method, OTHER_FIT)
    fit = FITS.get((cell.task, cell.method), usual_fit) * _length(cell) if learns else 0.0
    if cell.experiment != "reward":
        return fit, JUDGED[cell.experiment] * (10 if cell.task == "half-cheetah" else 1)
    limit = cell.max_episode_steps or SUITES[cell.task].task().max_episode_steps
    steps = limit * cell.episodes * len(cell.agents)
    method = METHODS.get(cell.method)
    each = 0.02
    if method is not None and method.plans:
        usual = SLOWER.get(cell.method, 1.0)
        slower = SLOWER_ON.get((cell.task, cell.method), usual)
        each = DECISIONS[cell.task] * (slower if method.learns else 0.3)
    return fit, 0.5 + each * steps / 1000


class Estimate:
    """What cells take: the table's seconds, times what this run has shown of their like.

    Args:
        fitted: Fits that are on disk already, by key.
    """

    def __init__(self, fitted: Iterable[str] = ()) -> None:
        self._fitted = set(fitted)
        self._seen: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def learn(self, cell: Cell, seconds: Mapping[str, float]) -> None:
        """Take in what a cell has taken, stage by stage."""
        fit, run = expected_seconds(cell, cell.fit_key in self._fitted)
        if fit:
            took = seconds.get("fit", 0.0) + seconds.get("data", 0.0)
            self._add(("fit", cell.task, cell.method), took, fit)
        took = seconds.get("run", 0.0)
        self._add(("run", cell.experiment, cell.task, cell.method, cell.planner or ""), took, run)
        self.mark_fitted(cell)

    def mark_fitted(self, cell: Cell) -> None:
        """What the cell learns is on disk from now on."""
        if cell.fit_key is not None:
            self._fitted.add(cell.fit_key)

    def _add(self, names: tuple[str, ...], took: float, expected: float) -> None:
        for length in range(len(names) + 1):
            sums = self._seen[names[:length]]
            sums[0] += took
            sums[1] += expected

    def _factor(self, names: tuple[str, ...]) -> float:
        for length in range(len(names), -1, -1):
            took, expected = self._seen.get(names[:length], (0.0, 0.0))
            if expected > 0:
                return took / expected
        return 1.0

    def seconds(self, cell: Cell) -> float:
        """Of one cell, were it to start now."""
        return self._seconds(cell, cell.fit_key in self._fitted)

    def _seconds(self, cell: Cell, fitted: bool) -> float:
        fit, run = expected_seconds(cell, fitted)
        names = ("run", cell.experiment, cell.task, cell.method, cell.planner or "")
        total = run * self._factor(names)
        return total + (fit * self._factor(("fit", cell.task, cell.method)) if fit else 0.0)

    def of_all(self, cells: Iterable[Cell]) -> list[float]:
        """Of several cells, each fit counted once, with the first cell that needs it."""
        fitted = set(self._fitted)
        seconds = []
        for cell in cells:
            seconds.append(self._seconds(cell, cell.fit_key in fitted))
            if cell.fit_key is not None:
                fitted.add(cell.fit_key)
        return seconds

    def left(self, pending: Iterable[Cell], running: Mapping[Cell, float], jobs: int) -> float:
        """Seconds until all is done.

        Args:
            pending: Cells that have not begun.
            running: Seconds for which others have been running.
            jobs: Cells beside each other.
        """
        begun = list(running)
        seconds = self.of_all([*begun, *pending])
        for i, cell in enumerate(begun):
            # One that is overdue is believed to be nearly done, but never quite.
            seconds[i] = max(seconds[i] - running[cell], 0.1 * seconds[i])
        return max([sum(seconds) / jobs, *seconds])
