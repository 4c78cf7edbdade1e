"""Which cells a benchmark consists of: the paper's experiments in three sizes, or parts of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from persim_gym import checks
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.experiments.cell import EXPERIMENTS, Cell
from persim_gym.experiments.methods import METHODS, Method
from persim_gym.policies.paper_behaviours import BEHAVIOURS

SMALL = ("mountain-car", "cartpole")
HALF_CHEETAH = "half-cheetah"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A size of the benchmark.

    Attributes:
        tasks: Tasks.
        datasets: Behaviours of the data.
        methods: Methods that are run on all data sets.
        beside: Methods whose predictions stand beside theirs, on ``beside_datasets`` alone.
        beside_datasets: Their data sets; and those of the planners after the first, of scarcity
            and of unseen agents.
        baselines: What is compared with: on all data sets, by the first planner alone.
        beside_baselines: The same on ``beside_datasets`` alone.
        baseline_seeds: Repeats of these; ``None`` for those of the others.
        baseline_sizes: ``"usual"``, or ``"paper"``: as long as in the paper's setting.
        scarce_returns: Methods whose returns are measured with fewer agents in the data, too.
        scarce_models: Baselines whose predictions are; those of ``methods`` all are.
        planners: Planners of the methods that plan.
        seeds: Repeats.
        train_agents: Agents in the data.
        prediction_episodes: Episodes of each agent whose course is predicted.
        reward_episodes: Episodes of each agent that are planned.
        policy_episodes: Episodes of policies that need no planning.
        scarcity: Numbers of agents in the data, for the experiment on scarcity.
        unseen: Agents that are kept out of the fit, for the experiment on unseen agents.
        max_episode_steps: Time limit of planned episodes; ``None`` for the task's.
    """

    tasks: tuple[str, ...]
    datasets: tuple[str, ...] = BEHAVIOURS
    methods: tuple[str, ...] = ("persim", "true", "test-policy", "random", "persistence")
    beside: tuple[str, ...] = ("one-for-all",)
    beside_datasets: tuple[str, ...] = ("random",)
    baselines: tuple[str, ...] = ()
    beside_baselines: tuple[str, ...] = ()
    baseline_seeds: int | None = None
    baseline_sizes: str = "usual"
    scarce_returns: tuple[str, ...] = ()
    scarce_models: tuple[str, ...] = ()
    planners: tuple[str, ...] = ("default", "paper")
    seeds: int = 5
    train_agents: int = DEFAULT_SIZE
    prediction_episodes: int = 200
    reward_episodes: int = 20
    policy_episodes: int = 100
    scarcity: tuple[int, ...] = (25, 50, 100, 250, 500)
    unseen: int = 50
    max_episode_steps: int | None = None

    def cells(self) -> Iterator[Cell]:
        """All cells, those of one fit after each other; some may come twice."""
        for task in self.tasks:
            for seed in range(self.seeds):
                baselines = self._compared_with if self._repeats_baselines(seed) else ()
                for name in (*self.methods, *self.beside, *baselines):
                    if METHODS[name].suits(task):
                        yield from self._compared(task, seed, METHODS[name])
                yield from self._scarce(task, seed)
                yield from self._scarce_returns(task, seed)
                yield from self._unseen(task, seed)

    def _compared(self, task: str, seed: int, method: Method) -> Iterator[Cell]:
        """Prediction, reward and latent factors of a method."""
        first = self.planners[0] if method.plans else None
        compared = method.name in self._compared_with
        further = self.planners[1:] if method.plans and not compared else ()
        beside = method.name in self.beside
        some = beside or method.name in self.beside_baselines
        datasets = self.beside_datasets if some else self.datasets
        for dataset in datasets if method.learns else (None,):
            cell = Cell(
                experiment="prediction", task=task, dataset=dataset, method=method.name, seed=seed,
                train_agents=self.train_agents if method.learns else DEFAULT_SIZE,
                episodes=self.prediction_episodes, fit=self._fit_of(method),
            )  # fmt: skip
            if "prediction" in method.experiments:
                yield cell
            if "latent" in method.experiments:
                yield replace(cell, experiment="latent", episodes=1)
            if "reward" in method.experiments and not beside:
                played = self.reward_episodes if method.plans else self.policy_episodes
                limit = self.max_episode_steps
                reward = replace(
                    cell, experiment="reward", episodes=played, planner=first,
                    max_episode_steps=limit,
                )  # fmt: skip
                yield reward
                if dataset is None or dataset in self.beside_datasets:
                    for planner in further:
                        yield replace(reward, planner=planner)

    def _scarce(self, task: str, seed: int) -> Iterator[Cell]:
        """Prediction from the data of fewer agents."""
        baselines = [METHODS[name] for name in self.scarce_models if self._repeats_baselines(seed)]
        for method in (*self._learning("prediction"), *baselines):
            for dataset in self.beside_datasets:
                for count in self.scarcity:
                    yield Cell(
                        experiment="prediction", task=task, dataset=dataset, method=method.name,
                        seed=seed, train_agents=count, episodes=self.prediction_episodes,
                        fit=self._fit_of(method),
                    )  # fmt: skip

    def _scarce_returns(self, task: str, seed: int) -> Iterator[Cell]:
        """Returns from the data of fewer agents."""
        repeated = self._repeats_baselines(seed)
        names = [name for name in self.scarce_returns if repeated or name in self.methods]
        for method in (METHODS[name] for name in names):
            for dataset in self.beside_datasets:
                for count in self.scarcity:
                    yield Cell(
                        experiment="reward", task=task, dataset=dataset, method=method.name,
                        seed=seed, train_agents=count, fit=self._fit_of(method),
                        episodes=self.reward_episodes if method.plans else self.policy_episodes,
                        planner=self.planners[0] if method.plans else None,
                        max_episode_steps=self.max_episode_steps,
                    )  # fmt: skip

    @property
    def _compared_with(self) -> tuple[str, ...]:
        return (*self.baselines, *self.beside_baselines)

    def _repeats_baselines(self, seed: int) -> bool:
        return self.baseline_seeds is None or seed < self.baseline_seeds

    def _fit_of(self, method: Method) -> tuple[tuple[str, Any], ...]:
        return method.paper if self.baseline_sizes == "paper" else ()

    def _unseen(self, task: str, seed: int) -> Iterator[Cell]:
        """Agents that were left out of the fit."""
        if not self.unseen:
            return
        fitted = self.train_agents - self.unseen
        for method in self._learning("unseen"):
            for dataset in self.beside_datasets:
                yield Cell(
                    experiment="unseen", task=task, dataset=dataset, method=method.name, seed=seed,
                    train_agents=fitted, agents=tuple(range(fitted, self.train_agents)),
                    episodes=max(1, self.prediction_episodes // 10),
                )  # fmt: skip

    def _learning(self, experiment: str) -> list[Method]:
        methods = [METHODS[name] for name in self.methods]
        return [m for m in methods if m.learns and experiment in m.experiments]


#: All of the paper's methods that learn a policy without a model.
BASELINES = ("bcq-p", "bcq-a", "cql-p", "cql-a", "persim-bcq-5", "persim-cql-5")
#: Beyond the paper, for continuous actions.
CONTINUOUS = ("sfbc-p", "sfbc-a")
#: Those with a model, which predict as well.
MODELS = ("vanilla-cadm", "pets-cadm", "morel-p", "morel-a")
#: Policies trained inside the simulator; and what beside their plain training is shown of it.
INSIDE = ("persim-dqn", "persim-sac")
INSIDE_PENALTY = ("persim-dqn-penalty", "persim-sac-penalty")
#: Those that learn from all agents, and PerSim.
SCARCE = ("persim", "bcq-p", "cql-p", "morel-p")
SCARCE_MODELS = ("vanilla-cadm", "pets-cadm", "morel-p")

#: HalfCheetah where there are processors alone: fewer repeats, agents and planned steps. All else,
#: the fit of 500 agents among it, is as in the full setting.
_REDUCED = Preset(
    tasks=(HALF_CHEETAH,),
    planners=("default",),
    seeds=1,
    prediction_episodes=50,
    reward_episodes=1,
    policy_episodes=10,
    scarcity=(),
    unseen=0,
    beside=(),
    datasets=("random", "pure"),
    baselines=("bcq-p", "cql-p", "morel-p", *CONTINUOUS, "persim-in-support", *INSIDE),
    beside_baselines=INSIDE_PENALTY,
)
_FULL = Preset(
    tasks=(HALF_CHEETAH,),
    baselines=(*BASELINES, *MODELS, *CONTINUOUS, "persim-in-support", *INSIDE, *INSIDE_PENALTY),
    baseline_sizes="paper",
)

PRESETS: dict[str, tuple[Preset, ...]] = {
    "quick": (
        Preset(
            tasks=SMALL,
            datasets=("random",),
            seeds=2,
            train_agents=100,
            prediction_episodes=50,
            reward_episodes=4,
            policy_episodes=20,
            planners=("default",),
            scarcity=(25, 50, 100),
            unseen=20,
        ),
    ),
    "laptop": (
        Preset(
            tasks=SMALL,
            baselines=(*BASELINES, *MODELS, *INSIDE),
            beside_baselines=INSIDE_PENALTY,
            baseline_seeds=3,
            scarce_returns=SCARCE,
            scarce_models=SCARCE_MODELS,
        ),
    ),
    "paper": (
        Preset(
            tasks=SMALL,
            methods=("persim", "persim-networks", "true", "test-policy", "random", "persistence"),
            baselines=(*BASELINES, *MODELS, *INSIDE, *INSIDE_PENALTY),
            baseline_sizes="paper",
            scarce_returns=SCARCE,
            scarce_models=SCARCE_MODELS,
        ),
        _FULL,
    ),
}


def preset_cells(name: str, device: str = "cpu", seeds: int | None = None) -> list[Cell]:
    """The cells of a preset, each once.

    Args:
        name: ``"quick"`` (minutes), ``"laptop"`` (MountainCar and CartPole complete, some
            nine hours of one core) or ``"paper"`` (everything).
        device: On ``"cpu"`` HalfCheetah is run in its reduced setting.
        seeds: Repeats, from seed 0 on; by default the preset's.

    Raises:
        ValueError: If there is no such preset, or ``seeds`` is no number of repeats.
    """
    if name not in PRESETS:
        raise ValueError(checks.unknown("preset", name, PRESETS))
    presets = PRESETS[name]
    checks.text("device", device)
    if device == "cpu":
        presets = tuple(_REDUCED if preset is _FULL else preset for preset in presets)
    if seeds is None:
        return list(_cells_of(presets))
    # Every repeat is some hundred cells, which are made at once.
    seeds = checks.positive_integer("seeds", seeds, 10_000, "an integer of at least 1")
    return list(_cells_of.__wrapped__(tuple(replace(own, seeds=seeds) for own in presets)))


@lru_cache
def _cells_of(presets: tuple[Preset, ...]) -> tuple[Cell, ...]:
    return tuple(dict.fromkeys(cell for preset in presets for cell in preset.cells()))


def select_cells(
    cells: Sequence[Cell],
    *,
    experiments: Sequence[str] = (),
    tasks: Sequence[str] = (),
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
    planners: Sequence[str] = (),
) -> list[Cell]:
    """The cells of some experiments, tasks and so on; nothing given means all of them.

    Cells that learn from no data belong to every data set, those that do not plan to every planner.

    Raises:
        ValueError: If no cell has a name, with those there are, or none has all that is asked.
    """
    kept = list(cells)
    wanted = {
        "experiment": experiments, "task": tasks, "dataset": datasets, "method": methods,
        "planner": planners,
    }  # fmt: skip
    for field, names in wanted.items():
        names = checks.a_sequence(f"{field}s", names)
        there = {getattr(cell, field) for cell in cells} - {None}
        for name in names:
            if name not in there:
                known = ", ".join(sorted(there)) or "none"
                raise ValueError(
                    f"no cell has {field} {name!r}{checks.meant(name, there)}: there are {known}"
                )
        if names:
            kept = [cell for cell in kept if getattr(cell, field) in (None, *names)]
    if not kept:
        given = [f"{field} {' or '.join(names)}" for field, names in wanted.items() if names]
        raise ValueError(f"no cell has {', '.join(given)}, all at once: leave some out")
    return kept


__all__ = ["EXPERIMENTS", "PRESETS", "Preset", "preset_cells", "select_cells"]
