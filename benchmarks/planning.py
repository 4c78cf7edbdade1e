"""Time of an MPC decision at the paper's settings, five members; and of many at once.

In four kinds of model: the paper's networks and the default ones, as good as unfitted, so that no
episode ends early and every step is paid for; the closed form, fitted to random actions; and the
true dynamics. In the last two episodes end, and what has ended costs nothing more.

All of them stand beside the loop of `reference_plan.py` with the paper's networks, and networks
beside the time that their multiply-adds would take at the speed of a large matrix product of torch
on this machine, with the same threads. They are counted as the network is written down, so that a
decision that saves some of them can be below the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from samples import AGENTS, multiply_adds, simulator, transitions

from persim_gym.learned import PerSim
from persim_gym.planning import CEM, MPC, RandomShooting

PAPER, DEFAULT, CLOSED, TRUTH = "paper's networks", "default networks", "closed form", "truth"

#: Problems at once, by task and kind of model.
BATCHES: dict[str, dict[str, tuple[int, ...]]] = {
    "cartpole": dict.fromkeys((PAPER, DEFAULT, CLOSED, TRUTH), (10, 100)),
    "mountain-car": dict.fromkeys((PAPER, DEFAULT, CLOSED, TRUTH), (10, 100)),
    "half-cheetah": {PAPER: (), DEFAULT: (10,), TRUTH: ()},
}

#: A search so small that operations cost more than what they work on.
SMALL = RandomShooting(60, 30)

#: Agents and transitions of each that a closed form is fitted to.
FITTED_AGENTS, FITTED_STEPS = 100, 40


def rows(effort: Effort) -> Iterator[Row]:
    for task_name in BATCHES:
        models = {kind: model(task_name, kind, effort) for kind in BATCHES[task_name]}
        yield from decision(task_name, models, effort)
        for kind, given in models.items():
            yield from batches(task_name, kind, given, effort)


def model(task_name: str, kind: str, effort: Effort) -> Any:
    """What is planned in."""
    if kind == TRUTH:
        return task_name
    if kind == CLOSED:
        data = transitions(task_name, effort.scaled(FITTED_AGENTS, 10), FITTED_STEPS)
        return PerSim.fit(data, method="als", progress=False)
    preset = "paper" if kind == PAPER else "default"
    return simulator(task_name, effort.scaled(AGENTS, 10), preset)


def planner(task_name: str, effort: Effort) -> RandomShooting | CEM:
    """The paper's planner of a task."""
    if task_name == "half-cheetah":
        return CEM(effort.scaled(200, 4), effort.scaled(30, 2), effort.scaled(50, 2))
    return RandomShooting(effort.scaled(1000, 4), effort.scaled(50, 2))


def decision(task_name: str, models: dict[str, Any], effort: Effort) -> Iterator[Row]:
    search, paper = planner(task_name, effort), models[PAPER]
    reference, start = ReferencePlanner(paper), torch.zeros(paper.task.observation_space.shape[0])
    k, h = search.candidates, search.horizon
    rounds = search.rounds if isinstance(search, CEM) else 1

    def plain() -> object:
        with torch.random.fork_rng(devices=[]):
            if isinstance(search, CEM):
                return reference.refine(3, start, k, h, search.elites, search.rounds)
            return reference.shoot(3, start, k, h)

    times = interleave(
        effort,
        reference=repeated(plain, effort.seconds),
        multiply_add=multiply_add(effort),
        **{
            kind: repeated(decide(given, search, 1), effort.seconds)
            for kind, given in models.items()
        },
    )
    sizes = f"{k} x {h}" + (f", {rounds} rounds" if rounds > 1 else "")
    plain_time = amount(float(np.median(times["reference"])), "s")
    for kind, given in models.items():
        name = f"decision, {task_name}, {sizes}, {kind}"
        ours = amount(float(np.median(times[kind])), "s")
        bounds = {} if isinstance(search, CEM) or kind == TRUTH else {"target": 10, "goal": 20}
        peer = f"loop over members and steps: {plain_time}"
        yield row(name, ours, peer, times["reference"] / times[kind], **bounds)
        if kind in (PAPER, DEFAULT):
            count = multiply_adds(given) * given.members * k * h * rounds
            limit = times["multiply_add"] * count
            peer = f"{amount(count, 'multiply-adds')}: {amount(float(np.median(limit)), 's')}"
            yield row(name, ours, peer, times[kind] / limit, better="less", goal=3)


def batches(task_name: str, kind: str, given: Any, effort: Effort) -> Iterator[Row]:
    # A hundred problems take long enough to need few repeats.
    once = Effort(max(1, effort.rounds // 2), 1, effort.size, effort.seconds)
    searches = [(planner(task_name, effort), f"decisions, {task_name}, {kind}")]
    if kind in (CLOSED, TRUTH) and BATCHES[task_name][kind]:
        small = RandomShooting(effort.scaled(SMALL.candidates, 4), effort.scaled(SMALL.horizon, 2))
        sizes = f"{SMALL.candidates} x {SMALL.horizon}"
        searches.append((small, f"decisions, {task_name}, {sizes}, {kind}"))
    for search, name in searches:
        for n in BATCHES[task_name][kind]:
            sides: dict[str, Callable[[], float]] = {
                "one": repeated(decide(given, search, 1), effort.seconds),
                "many": repeated(decide(given, search, n), effort.seconds),
            }
            times = interleave(once, **sides)
            rates = {"one": 1 / np.median(times["one"]), "many": n / np.median(times["many"])}
            yield row(
                f"{name}, {n} problems at once",
                f"{amount(rates['many'], 'decisions/s')}, {rates['many'] / n:.3g} each",
                f"one at a time: {amount(rates['one'], 'decisions/s')}",
                n * times["one"] / times["many"],
                goal=1,
            )


def decide(given: Any, search: Any, problems: int) -> Any:
    """A decision for all problems, an agent each, with plans carried over from the last one."""
    mpc = MPC(given, agent=np.arange(problems) % 10, planner=search)
    obs = np.zeros((problems, mpc.task.observation_space.shape[0]), dtype=np.float32)
    return lambda: mpc.predict(obs)


if __name__ == "__main__":
    main({"planning": rows})
