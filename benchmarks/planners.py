"""Planners beside each other: returns against decisions a second, in truth and in a simulator.

    python benchmarks/planners.py --task mountain-car [--seed 0] [--agents 5-14] [--episodes 5]
        [--planners paper,default] [--simulator FOLDER] [--quick] [--json OUT]

Each planner acts in the agents' true environments, once planning in the true dynamics and once in
a simulator, which is fitted from 500 agents' random actions or read from a folder. Decisions a
second are in the simulator, *alone* of one problem, *in the batch* of 50 at once. Planners are
chosen on agents from 5 on: agents 0 to 4 are the test agents.

For MountainCar an exhaustive search says what is possible: from the start, all states that can be
reached, one kept for each of a million cells of the state space, until one is at the goal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from latent import AGENTS, recorded
from measure import Effort, Side, interleave
from numpy.typing import NDArray

from persim_gym.cli.options import parse_agents
from persim_gym.core import Dynamics, Task
from persim_gym.envs.suites import SUITES, Suite
from persim_gym.evaluation.returns import episode_returns, start_seeds
from persim_gym.learned import PerSim
from persim_gym.planning import MPC, PlannerChoice, choose_planner
from persim_gym.planning.planner_choice import planner_names, resized
from persim_gym.writing import write_json

#: What is tried beside the names that suit a task: name, and settings that differ.
SIZES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "mountain-car": [
        ("paper", {"candidates": 100}),
        ("shooting", {"sticky": 0.0}),
        ("shooting", {"candidates": 50}),
        ("shooting", {"candidates": 200}),
        ("categorical-cem", {"candidates": 100}),
    ],
    "cartpole": [
        ("paper", {"candidates": 50}),
        ("shooting", {"decide": "best"}),
        ("shooting", {"candidates": 20}),
        ("categorical-cem", {"candidates": 50}),
    ],
    "half-cheetah": [("paper", {"candidates": 50}), ("shooting", {"candidates": 200})],
}
#: Problems that are planned for at once, where many are.
BATCH = 50
#: Timed decisions of each planner, of which the best counts.
BEST_OF = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What one planner did.

    Attributes:
        name: Its name, and settings that differ.
        planner: Its settings in words.
        truth: Returns where it plans in the true dynamics ``[A, episodes]``.
        simulator: Returns where it plans in the simulator ``[A, episodes]``.
        alone: Decisions a second in the simulator, of one problem at a time.
        batch: Decisions a second in the simulator, of 50 problems at once.
    """

    name: str
    planner: str
    truth: NDArray[np.float64]
    simulator: NDArray[np.float64]
    alone: float
    batch: float

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        speeds = (f"{self.alone:.3g}", f"{self.batch:.3g}")
        return (self.name, self.planner, summary(self.truth), summary(self.simulator), *speeds)


HEADINGS = ("planner", "settings", "in truth", "in the simulator", "alone", "in the batch")


def summary(returns: NDArray[np.float64]) -> str:
    """Mean over all episodes, deviation within agents, and the worst episode."""
    deviation = np.sqrt(returns.var(axis=1).mean())
    return f"{returns.mean():.1f} ± {deviation:.1f} ({returns.min():.0f})"


def described(choice: PlannerChoice) -> str:
    """``RandomShooting 100 x 50``, rounds and the rest of what counts."""
    planner: Any = choice.planner
    rounds = f"{planner.rounds} x " if hasattr(planner, "rounds") else ""
    words = [f"{type(planner).__name__} {rounds}{planner.candidates} x {planner.horizon}"]
    if getattr(planner, "sticky", 0):
        words.append(f"sticky {planner.sticky}")
    if getattr(planner, "decide", "best") != "best":
        words.append(f"by the {planner.decide}")
    words.append(choice.propagation)
    if choice.shaping is not None:
        words.append("shaped")
    if choice.penalty:
        words.append(f"penalty {choice.penalty:g}")
    return ", ".join(words)


def planners(task: Task, names: Sequence[str], quick: bool) -> dict[str, PlannerChoice]:
    """The planners of a table, by what they are called there.

    Raises:
        ValueError: If one of ``names`` is no planner for this task.
    """
    suiting = [name for name in planner_names(task) if name != "default"]
    if unknown := sorted(set(names) - {*suiting, "default"}):
        raise ValueError(f"no planner {unknown[0]!r}: there are default, {', '.join(suiting)}")
    named: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in suiting]
    named += SIZES.get(task.name, [])
    default = choose_planner(task)
    found = {}
    for name, sizes in named:
        choice = choose_planner(task, name, **sizes)
        label = " ".join([name, *(f"{key}={value}" for key, value in sizes.items())])
        if choice == default:
            label += " (default)"
        if names and name not in names and not ("default" in names and choice == default):
            continue
        few = {"candidates": 8, "horizon": 3} if quick else {}
        found[label] = replace(choice, planner=resized(choice.planner, **few))
    return found


def returns_of(
    choice: PlannerChoice,
    suite: Suite,
    model: Any,
    agents: Sequence[int],
    episodes: int,
    seed: int,
    steps: int | None,
) -> NDArray[np.float64]:
    """True returns of a planner that plans in a model ``[A, episodes]``."""
    task, true = suite.task(), suite.dynamics(suite.population())
    mpc = MPC(model, task=task, planner=choice, seed=seed)
    return episode_returns(task, true, agents, mpc, episodes, seed, max_episode_steps=steps)


def rates(
    chosen: dict[str, PlannerChoice], sim: PerSim, agents: Sequence[int], problems: int
) -> dict[str, float]:
    """Decisions a second of each planner, for so many problems at once, at their starts.

    The planners are timed in turn, and the best time of each counts.
    """
    obs = sim.task.sample_start(np.random.default_rng(0), problems).astype(np.float32)
    rows = np.resize(np.array(agents), problems)

    def side(choice: PlannerChoice) -> Side:
        mpc = MPC(sim, planner=choice)

        def decide() -> float:
            began = time.perf_counter()
            mpc.plan(rows, obs)
            return time.perf_counter() - began

        decide()
        return decide

    sides = {name: side(choice) for name, choice in chosen.items()}
    seconds = interleave(Effort(rounds=1, best_of=BEST_OF), **sides)
    return {name: problems / float(times[0]) for name, times in seconds.items()}


def least_steps(
    task: Task, dynamics: Dynamics, agent: int, start: NDArray[np.float64], cells: int = 1000
) -> int | None:
    """Steps to the goal of the best driver, or ``None`` where the goal cannot be reached.

    The states that can be reached are followed as they are, without rounding, but of those that
    fall into one cell only the first: the plan is a real one, and at most a little too long.
    """
    low, high = task.observation_space.low, task.observation_space.high
    width = (high - low).astype(float) / cells
    seen = np.zeros((cells + 1) ** 2, dtype=bool)
    states, step = start[None].astype(float), 0
    while len(states):
        step += 1
        choices = np.tile(np.arange(3), len(states))
        states = np.asarray(
            dynamics.step(np.full(len(choices), agent), states.repeat(3, axis=0), choices)
        )
        if task.terminated(states).any():
            return step
        columns = ((states - low) / width).astype(np.int64)
        cell, first = np.unique(columns @ [cells + 1, 1], return_index=True)
        states = states[first[~seen[cell]]]
        seen[cell] = True
    return None


def optimum(suite: Suite, agents: Sequence[int], episodes: int, seed: int) -> NDArray[np.float64]:
    """The best returns of MountainCar ``[A, episodes]``, from the episodes' own starts."""
    task, true = suite.task(), suite.dynamics(suite.population())
    starts = [
        task.sample_start(seeding.np_random(own)[0], 1)[0] for own in start_seeds(seed, episodes)
    ]
    limit = task.max_episode_steps
    found = [[least_steps(task, true, k, start) for start in starts] for k in agents]
    return np.array([[-limit if n is None else 1 - n for n in row] for row in found], dtype=float)


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = HEADINGS) -> str:
    """A Markdown table, laid out for reading as it stands."""
    lines = [headings, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def by_agent(results: dict[str, NDArray[np.float64]], agents: Sequence[int]) -> str:
    """Each agent's mean and deviation."""
    rows = [
        (name, *(f"{own.mean():.1f} ± {own.std():.1f}" for own in returns))
        for name, returns in results.items()
    ]
    return table(rows, ("planner", *(f"agent {k}" for k in agents)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, plan, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", required=True, choices=SUITES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agents", default="5-14", help="such as 0-4 or 5,7,9")
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--planners", default="", help="names, by commas; by default all")
    parser.add_argument("--simulator", type=Path, help="a fitted simulator")
    parser.add_argument("--max-steps", type=int, help="time limit, by default the task's")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, no more")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(arguments)
    suite = SUITES[options.task]
    task = suite.task()
    names = [name for name in options.planners.split(",") if name]
    try:
        agents = parse_agents(options.agents)
        chosen = planners(task, names, options.quick)
    except ValueError as error:
        parser.error(str(error))
    episodes, steps = options.episodes, options.max_steps
    if options.quick:
        agents, episodes, steps = agents[:2], 1, 3
    if options.simulator:
        sim = PerSim.load(options.simulator)
        if sim.task.name != task.name:
            parser.error(f"{options.simulator} is of task {sim.task.name!r}, not {task.name!r}")
    else:
        data = recorded(task.name, 20 if options.quick else AGENTS, options.seed)
        sim = PerSim.fit(data, seed=options.seed, progress=False)
    alone = rates(chosen, sim, agents, 1)
    batch = rates(chosen, sim, agents, 2 if options.quick else BATCH)
    true, results = suite.dynamics(suite.population()), []
    for name, choice in chosen.items():
        truth, simulator = (
            returns_of(choice, suite, model, agents, episodes, options.seed, steps)
            for model in (true, sim)
        )
        row = Found(name, described(choice), truth, simulator, alone[name], batch[name])
        results.append(row)
        print(" | ".join(row.cells()), flush=True)
    returns = {found.name: found.simulator for found in results}
    print("", table([found.cells() for found in results]), sep="\n")
    if task.name == "mountain-car":
        best = optimum(suite, agents, episodes, options.seed)
        returns["what is possible"] = best
        print(f"\nWhat is possible: {summary(best)}")
    print("", "In the simulator:", by_agent(returns, agents), sep="\n")
    if options.json:
        content = [
            asdict(f) | {k: getattr(f, k).tolist() for k in ("truth", "simulator")} for f in results
        ]
        write_json(options.json, {"task": task.name, "agents": agents, "planners": content})


if __name__ == "__main__":
    main()
