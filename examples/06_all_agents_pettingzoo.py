"""Five simulators side by side: a PettingZoo parallel environment, an agent of it each agent.

They are acted in at random or, with ``--policy mpc``, by one MPC that plans for all that are still
running as one batch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shared

from persim_gym.planning import MPC, RandomShooting


def main(folder: Path, policy: str, planner: RandomShooting, quick: bool) -> None:
    sim = shared.cartpole_simulator(folder, quick)
    penv = sim.parallel_env(agents=range(5))
    observations, infos = penv.reset(seed=0)
    index = {name: info["agent"] for name, info in infos.items()}
    total = dict.fromkeys(penv.possible_agents, 0.0)
    ends = {}
    mpc, plans = MPC(sim, planner=planner), None
    rng = np.random.default_rng(0)
    while penv.agents:
        running = list(penv.agents)
        if policy == "mpc":
            rows = np.array([index[name] for name in running])
            obs = np.stack([observations[name] for name in running])
            chosen, plans = mpc.plan(rows, obs, plans)
        else:
            chosen = rng.integers(0, 2, size=len(running))
        actions = dict(zip(running, chosen, strict=True))
        observations, rewards, terminations, truncations, infos = penv.step(actions)
        for name in running:
            total[name] += rewards[name]
            if terminations[name]:
                ends[name] = "the task ended"
            elif truncations[name]:
                ends[name] = str(infos[name]["guard"]) or "time is up"
        if plans is not None:  # the plans of those that go on
            going = [name in penv.agents for name in running]
            plans = tuple(part[going] for part in plans)
    print(f"policy {policy}, in the simulators of {len(total)} agents:")
    for name, reached in total.items():
        print(f"  {name}: return {reached:.0f} ({ends[name]})")


if __name__ == "__main__":
    options = shared.parser(__doc__)
    options.add_argument("--policy", choices=("random", "mpc"), default="mpc")
    given = options.parse_args()
    search = RandomShooting(candidates=100, horizon=25) if given.quick else RandomShooting()
    with shared.workplace(given.quick) as workplace:
        main(workplace, given.policy, search, given.quick)
