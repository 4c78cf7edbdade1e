"""Time of an MPC decision at the paper's settings, five members; and of many at once.

It stands beside the loop of `reference_plan.py`, and beside the time that its multiply-adds would
take at the speed of a large matrix product on this machine, with the same threads. They are counted
as the network is written down, so that a decision that saves some of them can be below the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from measure import (
    Effort,
    Row,
    amount,
    interleave,
    main,
    multiply_add,
    repeated,
    row,
)
from reference_plan import ReferencePlanner
from worlds import AGENTS, multiply_adds, simulator

from persim_gym.learned import PerSim
from persim_gym.planning import CEM, MPC, RandomShooting

#: Problems at once.
BATCHES = {"cartpole": (10, 100), "mountain-car": (10, 100), "half-cheetah": (10,)}


def rows(effort: Effort) -> Iterator[Row]:
    for task_name in BATCHES:
        sim = simulator(task_name, effort.scaled(AGENTS, 10))
        yield from decision(task_name, sim, effort)
        yield from batches(task_name, sim, effort)


def planner(task_name: str, effort: Effort) -> RandomShooting | CEM:
    """The paper's planner of a task."""
    if task_name == "half-cheetah":
        return CEM(effort.scaled(200, 4), effort.scaled(30, 2), effort.scaled(50, 2))
    return RandomShooting(effort.scaled(1000, 4), effort.scaled(50, 2))


def decision(task_name: str, sim: PerSim, effort: Effort) -> Iterator[Row]:
    search = planner(task_name, effort)
    reference, start = ReferencePlanner(sim), torch.zeros(sim.task.observation_space.shape[0])
    k, h = search.candidates, search.horizon
    rounds = search.rounds if isinstance(search, CEM) else 1

    def plain() -> object:
        with torch.random.fork_rng(devices=[]):
            if isinstance(search, CEM):
                return reference.refine(3, start, k, h, search.elites, search.rounds)
            return reference.shoot(3, start, k, h)

    times = interleave(
        effort,
        ours=repeated(decide(sim, search, 1), effort.seconds),
        reference=repeated(plain, effort.seconds),
        multiply_add=multiply_add(effort),
    )
    count = multiply_adds(sim) * sim.members * k * h * rounds
    limit = times["multiply_add"] * count
    ours = amount(float(np.median(times["ours"])), "s")
    sizes = f"{k} x {h}" + (f", {rounds} rounds" if rounds > 1 else "")
    plain_time = amount(float(np.median(times["reference"])), "s")
    yield row(
        f"decision, {task_name}, {sizes}",
        ours,
        f"loop over members and steps: {plain_time}",
        times["reference"] / times["ours"],
        target=None if isinstance(search, CEM) else 10,
    )
    yield row(
        f"decision, {task_name}, {sizes}",
        ours,
        f"{amount(count, 'multiply-adds')}: {amount(float(np.median(limit)), 's')}",
        times["ours"] / limit,
        better="less",
        goal=3,
    )


def batches(task_name: str, sim: PerSim, effort: Effort) -> Iterator[Row]:
    search = planner(task_name, effort)
    # A hundred problems take long enough to need few repeats.
    once = Effort(max(1, effort.rounds // 2), 1, effort.size, effort.seconds)
    for n in BATCHES[task_name]:
        times = interleave(
            once,
            one=repeated(decide(sim, search, 1), effort.seconds),
            many=repeated(decide(sim, search, n), effort.seconds),
        )
        rates = {"one": 1 / np.median(times["one"]), "many": n / np.median(times["many"])}
        yield row(
            f"decisions, {task_name}, {n} problems at once",
            f"{amount(rates['many'], 'decisions/s')}, {rates['many'] / n:.3g} each",
            f"one at a time: {amount(rates['one'], 'decisions/s')}",
            n * times["one"] / times["many"],
        )


def decide(sim: PerSim, search: Any, problems: int) -> Any:
    """A decision for all problems, an agent each, with plans carried over from the last one."""
    mpc = MPC(sim, agent=np.arange(problems) % sim.num_agents, planner=search)
    obs = np.zeros((problems, sim.task.observation_space.shape[0]), dtype=np.float32)
    return lambda: mpc.predict(obs)


if __name__ == "__main__":
    main({"planning": rows})
