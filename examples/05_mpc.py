"""Planning: model-predictive control of the five test agents at once, in simulators and in truth.

Every row of a batch is planned for in its own agent's simulator; what is executed is always the
true environment. The random behaviour of the data and planning in the true dynamics are the floor
and the ceiling.
"""

from __future__ import annotations

import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import shared
from numpy.typing import NDArray

from persim_gym.core import Policy
from persim_gym.offline import RandomPolicy
from persim_gym.planning import MPC, RandomShooting

AGENTS = range(5)


def returns(policy: Policy, seed: int) -> NDArray[np.float64]:
    """Returns [5] of one true episode of each agent."""
    envs = gym.make_vec("PerSim-CartPole-v0", num_envs=len(AGENTS), agents=AGENTS)
    obs, _ = envs.reset(seed=seed)
    total, over, state = np.zeros(len(AGENTS)), np.zeros(len(AGENTS), dtype=bool), None
    first = ~over
    while not over.all():
        actions, state = policy.predict(obs, state, first)
        obs, rewards, terminated, truncated, _ = envs.step(actions)
        total += rewards * ~over
        over |= terminated | truncated
        first = np.zeros_like(over)
    return total


def main(folder: Path, planner: RandomShooting, quick: bool) -> None:
    sim = shared.cartpole_simulator(folder, quick)
    space = sim.task.action_space
    policies = {
        "random": RandomPolicy(space),
        "MPC in the simulators": MPC(sim, agent=AGENTS, planner=planner),
        "MPC in the true dynamics": MPC("PerSim-CartPole-v0", agent=AGENTS, planner=planner),
        "MPC in agent 2's simulator": MPC(sim, agent=2, planner=planner),
    }
    print(f"{planner}; returns of agents 0 to 4:")
    for name, policy in policies.items():
        began = time.perf_counter()
        reached = returns(policy, seed=0)
        print(f"  {name:27} {reached} in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    given = shared.parser(__doc__).parse_args()
    search = RandomShooting(candidates=100, horizon=25) if given.quick else RandomShooting()
    with shared.workplace(given.quick) as workplace:
        main(workplace, search, given.quick)
