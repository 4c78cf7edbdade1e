"""Is a return in a learned environment the return in the true one?

    python benchmarks/returns_inside.py [TASK...]

500 agents are recorded under random actions (seed 0) and fitted by the default method. Agents 0 to
39 play five episodes each from the same starts, under random actions and under the scripted
controllers, in the true environment and inside the simulator with its guard.
"""

from __future__ import annotations

import argparse

import numpy as np
from latent import recorded

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.returns import episode_returns
from persim_gym.learned import PerSim
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.policies.scripted import scripted_policy

AGENTS, EPISODES = 40, 5


def main() -> None:
    """Fit, play and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["mountain-car", "cartpole"])
    for name in parser.parse_args().tasks:
        suite = SUITES[name]
        sim = PerSim.fit(recorded(name, 500, 0), progress=False)
        worlds = {"true": suite.dynamics(suite.population()), "inside": GuardedSimulator(sim)}
        print(f"{name}: limit of the guard {sim.experience.disagreement_limit:.3g}")
        for who, policy in (("random", "random"), ("scripted", scripted_policy(name, 0))):
            true, inside = (
                episode_returns(sim.task, world, np.arange(AGENTS), policy, EPISODES, 0)
                for world in worlds.values()
            )
            print(
                f"  {who:8s} true {true.mean():.2f}, inside {inside.mean():.2f}; the largest "
                f"difference of an episode {np.abs(inside - true).max():g}"
            )


if __name__ == "__main__":
    main()
