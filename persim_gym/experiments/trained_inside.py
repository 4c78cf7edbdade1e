"""Policies trained inside personalised simulators: one for each test agent, in its own simulator.

The last policy of a training counts. None is judged in the true environment on the way, nor in the
simulator: of many, the best one there would be the one that its errors flatter most.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from persim_gym import checks, training
from persim_gym.experiments.baseline_methods import PerAgent, part_of
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.context import Context
from persim_gym.experiments.recordings import check_own
from persim_gym.learned.config import Values
from persim_gym.learned.simulator import PerSim
from persim_gym.policies.saved import POLICY, SavedPolicy, load_policy, save_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideConfig(Values):
    """How a policy is trained in one agent's simulator; ``None`` is the task's own value.

    Attributes:
        steps: Steps in the simulator.
        guard: Whether the simulator's guard stops episodes.
        penalty: Reward to subtract per unit of the members' disagreement.
        exploring_starts: Share of episodes that begin anywhere in the range of the recorded states.
        episode_steps: Time limit in training.
        hidden: Widths of the networks' hidden layers.
    """

    called: ClassVar[str] = "a training in a simulator"

    steps: int | None = None
    guard: bool = True
    penalty: float | None = None
    exploring_starts: float | None = None
    episode_steps: int | None = None
    hidden: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        checks.make_plain(self)
        if self.steps is not None:
            checks.positive_integer("steps", self.steps)
        self._take_widths("hidden")
        own = {name: getattr(self, name) for name in _SHARED}
        training.TrainConfig(**{name: value for name, value in own.items() if value is not None})

    def of_task(self, task: str, penalty: float = 0.0) -> InsideConfig:
        """The same with no number of steps and no penalty left open."""
        steps = STEPS[task] if self.steps is None else self.steps
        price = penalty if self.penalty is None else self.penalty
        return dataclasses.replace(self, steps=steps, penalty=price)


_SHARED = ("guard", "penalty", "exploring_starts", "episode_steps")

#: Steps of a training: five agents take some minutes of one core.
STEPS = {"mountain-car": 40_000, "cartpole": 20_000, "half-cheetah": 30_000}

#: Episodes side by side: eight steps in the simulator cost little more than one.
LANES = 8

#: Settings of the algorithm that differ from those of :func:`persim_gym.training.default_config`:
#: half as many gradient steps as steps in the simulator, and in MountainCar, whose rewards say
#: nothing before the goal is found, the shipped policies' sums of five rewards. Tuned on agents 5
#: to 7, who are no test agents: see ``docs/baselines.md``.
_SETTINGS: dict[str, dict[str, Any]] = {
    "cartpole": {"train_freq": 1, "gradient_steps": 4, "target_update_interval": 500},
    "mountain-car": {
        "learning_rate": 1e-3,
        "train_freq": 2,
        "gradient_steps": 8,
        "n_steps": 5,
        "target_update_interval": 600,
        "policy_kwargs": {"net_arch": [64, 64]},
    },
    "half-cheetah": {"train_freq": 1, "gradient_steps": 4},
}


def check_options(cell: Cell) -> None:
    """Check the options of a cell's fit.

    Raises:
        ValueError: If one is unknown or invalid.
    """
    InsideConfig().replaced(dict(cell.fit))


def train_config(task: str, algorithm: str, config: InsideConfig) -> training.TrainConfig:
    """What :func:`~persim_gym.training.train_in_simulator` is given."""
    usual = training.default_config(task, algorithm)
    own = {name: getattr(config, name) for name in _SHARED}
    settings = {**usual.settings, **_SETTINGS[task]}
    if config.hidden is not None:
        settings["policy_kwargs"] = {"net_arch": list(config.hidden)}
    return dataclasses.replace(
        usual,
        **{name: value for name, value in own.items() if value is not None},
        lanes=LANES,
        fade=True,
        evaluations=0,
        settings=settings,
    )


def policies_inside(
    context: Context, sim: PerSim, algorithm: str, penalty: float = 0.0
) -> tuple[PerAgent, dict[str, Any], dict[str, Any]]:
    """A policy of each test agent, trained in its simulator; one that is on disk is not trained.

    Args:
        context: Of the cell.
        sim: The simulator of all agents.
        algorithm: A name of :data:`persim_gym.training.ALGORITHMS`.
        penalty: Reward to subtract per unit of disagreement, if the cell does not say.

    Returns:
        The policies, facts of them, and what training them took.

    Raises:
        ValueError: If a policy on disk was trained on other data.
    """
    cell = context.cell
    options = InsideConfig().replaced(dict(cell.fit)).of_task(cell.task, penalty)
    policies: dict[int, SavedPolicy] = {}
    for place, agent in enumerate(cell.agents):
        folder = context.folder / f"agent-{agent}"
        if (folder / POLICY).is_file():
            policies[agent] = load_policy(folder)
            check_own(cell, folder, "policy", policies[agent].card)
            continue
        with part_of(context.on_progress, place, len(cell.agents)) as report:
            began = time.perf_counter()
            model = training.train_in_simulator(
                sim, agent, options.steps or 0, cell.seed, algorithm, report,
                config=train_config(cell.task, algorithm, options),
            )  # fmt: skip
            took = round(time.perf_counter() - began, 3)
        card = {
            "task": cell.task, "agent": agent, "dataset": sim.card.get("dataset"),
            "seed": cell.seed, "config": options.to_json(), "seconds": took,
        }  # fmt: skip
        save_policy(model, folder, card)
        policies[agent] = load_policy(folder)
    seconds = [policies[agent].card["seconds"] for agent in cell.agents]
    facts = {"trained_by": algorithm, "config": options.to_json(), "dataset": sim.card["dataset"]}
    spent = {"steps": options.steps, "agents": len(seconds), "seconds": sum(seconds)}
    return PerAgent(policies), facts, spent
