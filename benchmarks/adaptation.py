"""Unseen agents: open-loop error and coverage against the number of their transitions.

A population of 500 agents; 450 are fitted from one trajectory of random actions each. The other 50
come with 0 to 50 transitions of random actions, and their simulators predict 50 steps under a
scripted policy.

    python benchmarks/adaptation.py [--task cartpole] [--quick] [--seed 11] [--out FOLDER]

With `--out`, a figure `adaptation.png` and the numbers as `adaptation.json` are written there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.adaptation import (
    LEVELS,
    Adaptation,
    measure,
    random_transitions,
)
from persim_gym.files import write_bytes, write_text
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.plots.adaptation import adaptation_figure
from persim_gym.plots.style import to_png

TASKS = ("mountain-car", "cartpole")


def run(task_name: str, agents: int, unseen: int, seed: int, method: str) -> Adaptation:
    """Fit without and with the last agents of a population, and measure."""
    suite = find_suite(task_name)
    task = suite.task()
    dynamics = suite.dynamics(suite.population({"size": agents, "seed": seed}))
    data = random_transitions(task, dynamics, range(agents), seed=seed)
    fitted = agents - unseen
    began = time.perf_counter()
    some = PerSim.fit(first_agents(data, fitted), method=method, progress=False)
    print(f"{task_name}: {fitted} agents fitted in {time.perf_counter() - began:.1f} s", end=", ")
    print(f"{some}, prior {some.prior.to_json()}")
    every = PerSim.fit(data, method=method, progress=False)
    for sim in (some, every):
        print(f"  {sim.num_agents} agents: {sim.card['metrics'].get('chosen')}")
    return measure(some, every, dynamics, range(fitted, agents))


def first_agents(data: Transitions, count: int) -> Transitions:
    """The transitions of the first agents alone."""
    part = data.select(data.agent < count)
    return replace(part, num_agents=count)


def show(found: Adaptation) -> None:
    """Print the tables."""
    print(f"\n{found.task_name}: open-loop RMSE of {len(found.agents)} unseen agents")
    print("  transitions      median    geo. mean       worst   posterior sd")
    lines = [("population's mean", found.mean, math.nan)]
    for k, count in enumerate(found.counts.tolist()):
        lines.append((str(count), found.rmse[k], float(np.median(found.deviation[k]))))
    lines.append(("seen in training", found.trained, math.nan))
    for name, errors, deviation in lines:
        text = f"  {name:<17}{np.median(errors):10.3g} {np.exp(np.log(errors).mean()):10.3g} "
        print(
            text
            + f"{errors.max():11.3g}"
            + ("" if math.isnan(deviation) else f" {deviation:14.3g}")
        )
    asked = "/".join(f"{level:.0%}" for level in LEVELS)
    print(f"\n{found.task_name}: coverage of intervals of {asked} (* without calibration)")
    print(
        "  transitions  next step        scripted policy  factors          "
        "next step*       factors*"
    )
    for k, count in enumerate(found.counts):
        parts = (
            found.calibrated.predictions[k],
            found.calibrated.scripted[k],
            found.calibrated.factors[k],
            found.plain.predictions[k],
            found.plain.factors[k],
        )
        print(f"  {count:<12}", "   ".join(" ".join(f"{v:4.0%}" for v in part) for part in parts))


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", choices=TASKS, help="one task alone")
    parser.add_argument("--quick", action="store_true", help="60 agents, 10 of them unseen")
    parser.add_argument("--method", default="als", choices=("auto", "als", "sgd"))
    parser.add_argument("--seed", type=int, default=11, help="of the population and the data")
    parser.add_argument("--out", type=Path, help="folder of the figure and the numbers")
    options = parser.parse_args()
    agents, unseen = (60, 10) if options.quick else (500, 50)
    results = []
    for task_name in [options.task] if options.task else TASKS:
        found = run(task_name, agents, unseen, options.seed, options.method)
        show(found)
        results.append(found)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps([found.to_json() for found in results], indent=1)
        write_text(options.out / "adaptation.json", text + "\n")
        picture = to_png(adaptation_figure(results))
        print(write_bytes(options.out / "adaptation.png", picture))


if __name__ == "__main__":
    main()
