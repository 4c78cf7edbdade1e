"""Open-loop error by the behaviour that recorded the data: pure, random and mixtures.

    python benchmarks/behaviours.py [TASK...] [--methods als sgd] [--seed 0]

For each task and behaviour, 500 agents are recorded (seed 0) and fitted by each method. Each of the
paper's five test agents is then predicted 50 steps open loop after ten real ones, 50 episodes under
scripted controllers that recorded nothing; an agent's figure is the mean over its episodes of the
root mean square over steps and coordinates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from latent import recorded

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.learned import PerSim
from persim_gym.offline import BEHAVIOURS
from persim_gym.policies.scripted import scripted_policy


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["mountain-car", "cartpole"])
    parser.add_argument("--behaviours", nargs="+", default=list(BEHAVIOURS))
    parser.add_argument("--methods", nargs="+", default=["als"])
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for task in options.tasks:
        suite = SUITES[task]
        true = suite.dynamics(suite.population())
        episodes = follow(
            suite.task(), true, range(5), scripted_policy(task, options.seed),
            episodes=options.episodes, seed=options.seed,
        )  # fmt: skip
        print(f"{task}: behaviour, transitions, method, fit, geometric mean | agents 0 to 4")
        for behaviour in options.behaviours:
            data = recorded(task, options.agents, 0, behaviour)
            for method in options.methods:
                began = time.perf_counter()
                sim = PerSim.fit(data, method=method, seed=options.seed, progress=False)
                seconds = time.perf_counter() - began
                found = open_loop_error(sim, episodes).rmse
                mean = float(np.exp(np.log(found).mean()))
                each = " ".join(f"{value:.2e}" for value in found)
                print(
                    f"  {behaviour:12} {len(data):8,} {method} {seconds:5.0f} s "
                    f"{mean:.2e} | {each}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
