"""Does a simulator know how wrong it is? Disagreement of the members beside true error.

    python benchmarks/uncertainty.py [TASK...] [--methods als sgd] [--plots FOLDER]

For each task, 500 agents are recorded under random actions (seed 0) and fitted by each method.
Open loop: 10 episodes of each of 40 agents (5 to 44) under scripted controllers. Single steps: 200
steps of the simulator's own rollouts from 300 agents, which leave the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from latent import recorded

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.uncertainty import (
    OpenLoopUncertainty,
    StepUncertainty,
    open_loop_uncertainty,
    step_uncertainty,
)
from persim_gym.learned import PerSim
from persim_gym.plots.style import save
from persim_gym.plots.uncertainty import uncertainty_figure
from persim_gym.policies.scripted import scripted_policy


def main() -> None:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["mountain-car", "cartpole"])
    parser.add_argument("--methods", nargs="+", default=["als", "sgd"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plots", type=Path, help="folder for the figures")
    options = parser.parse_args()
    for task in options.tasks:
        suite = SUITES[task]
        data = recorded(task, 500, 0)
        true = suite.dynamics(suite.population())
        episodes = follow(
            suite.task(), true, range(5, 45), scripted_policy(task, options.seed),
            episodes=10, seed=options.seed,
        )  # fmt: skip
        open_loop: dict[str, OpenLoopUncertainty] = {}
        single: dict[str, StepUncertainty] = {}
        for method in options.methods:
            sim = PerSim.fit(data, method=method, seed=options.seed, progress=False)
            name = {"als": "closed form", "sgd": "networks"}[method]
            open_loop[name] = found = open_loop_uncertainty(sim, episodes)
            single[name] = one = step_uncertainty(sim, true, np.arange(5, 305), seed=options.seed)
            at = [0, 4, 9, 24, 49]
            print(f"{task}, {name}: limit of the guard {sim.experience.disagreement_limit:.3g}")
            ranks, ratios = found.rank_correlation(), found.ratio()
            print("  step                     " + "".join(f"{t + 1:9d}" for t in at))
            print("  rank correlation         " + "".join(f"{ranks[t]:9.2f}" for t in at))
            print("  error over deviation, median" + "".join(f"{ratios[t]:9.2f}" for t in at))
            for label, limit in (
                ("guard", sim.experience.disagreement_limit), ("best", one.best_limit())
            ):  # fmt: skip
                caught, vain = one.caught(limit)
                print(f"  {label} limit {limit:.3g}: stops {caught:.1%} of bad, {vain:.2%} of good")
            print(f"  bad single steps: {(one.error > 0.5).mean():.1%} of {len(one.error):,}")
        if options.plots is not None:
            save(uncertainty_figure(open_loop, single), options.plots / f"uncertainty-{task}.png")


if __name__ == "__main__":
    main()
