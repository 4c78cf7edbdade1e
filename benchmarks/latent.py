"""What the agents' latent factors know of the hidden covariates.

    python benchmarks/latent.py mountain-car cartpole [--plots docs/images] [--json OUT]
    python benchmarks/latent.py half-cheetah --simulator FOLDER

For each task, 500 agents are recorded under random actions (seed 0) and fitted by the default
method, or a simulator of such a population is read from a folder. The probe is a kernel ridge
regression that was never part of the fit: each agent's covariates are read off by a probe fitted on
the factors of other agents (five folds).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym.envs.suites import SUITES, suite_of
from persim_gym.evaluation.latent_factors import LatentProbe, probe_covariates
from persim_gym.learned import PerSim
from persim_gym.offline import Transitions
from persim_gym.plots import figures as plots
from persim_gym.plots.style import to_png
from persim_gym.writing import write_bytes, write_json

AGENTS = 500


def recorded(task_name: str, agents: int, seed: int, behaviour: str = "random") -> Transitions:
    """A data set of the default population, recorded into a folder that is then thrown away."""
    from persim_gym.offline import read_transitions, record

    before = os.environ.get("MINARI_DATASETS_PATH")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        try:
            data = record(SUITES[task_name].env_id, behaviour, agents, seed=seed, progress=False)
            return read_transitions(data)
        finally:
            del os.environ["MINARI_DATASETS_PATH"]
            if before is not None:
                os.environ["MINARI_DATASETS_PATH"] = before


def probe(sim: PerSim, seed: int = 0) -> LatentProbe:
    """Read the covariates of a simulator's agents off its factors."""
    suite = suite_of(sim.task)
    recorded = sim.card["dataset"]["population"]
    population = suite.population(sim.num_agents if recorded is None else recorded)
    return probe_covariates(sim.latent_factors, population.values, population.names, seed=seed)


def farthest(found: LatentProbe, count: int = 3) -> list[str]:
    """The agents whose covariates are read off worst, in deviations of the covariate."""
    off = (found.predicted - found.true) / np.maximum(found.true.std(axis=0), 1e-300)
    worst = np.argsort(-np.abs(off).max(axis=1), kind="stable")[:count]
    return [f"agent {k}: {', '.join(f'{v:+.2f}' for v in off[k])}" for k in worst.tolist()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, probe, print and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="+", choices=SUITES)
    parser.add_argument("--simulator", type=Path, help="a fitted simulator, for one task alone")
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plots", type=Path, help="write latent-TASK.png into this folder")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(arguments)
    if options.simulator and len(options.tasks) > 1:
        parser.error("--simulator is of one task: name it alone")
    results: dict[str, Any] = {}
    for task_name in options.tasks:
        began = time.perf_counter()
        if options.simulator:
            sim = PerSim.load(options.simulator)
            if sim.task.name != task_name:
                parser.error(f"{options.simulator} is of task {sim.task.name!r}, not {task_name!r}")
        else:
            data = recorded(task_name, options.agents, options.seed)
            sim = PerSim.fit(data, seed=options.seed, progress=False)
        seconds = time.perf_counter() - began
        found = probe(sim, options.seed)
        results[task_name] = found.to_json() | {"fitted_by": sim.card.get("fitted_by")}
        print(
            f"{task_name}: {sim.num_agents} agents, method {sim.card.get('fitted_by')}, rank "
            f"{sim.ensemble.rank}, {sim.members} members, {seconds:.0f} s"
        )
        for c, name in enumerate(found.names):
            print(f"  {name:<10} R2 {found.r2[c]:.5f}  rank corr. {found.rank_correlation[c]:.5f}")
        print(f"  farthest off: {'; '.join(farthest(found))}", flush=True)
        if options.plots:
            picture = to_png(plots.latent_factors(found))
            write_bytes(options.plots / f"latent-{task_name}.png", picture)
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
