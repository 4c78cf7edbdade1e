"""Open-loop error on a fixed comparison: the transitions and episodes of another code's run.

A folder holds files ``mountain_car.npz`` and ``cartpole.npz``, each with the transitions that the
authors' code was fitted on (``train_agent``, ``train_obs``, ``train_action``, ``train_next_obs``)
and evaluation episodes of the five test agents (``eval_start`` [5, E, d], ``eval_action``
[5, E, 50], ``eval_next_obs`` [5, E, 50, d], ``eval_valid`` [5, E, 50]). An episode's error is the
root of the mean square over its valid steps and all coordinates, open loop, the members' states
averaged at each step; an agent's figure is the mean over its episodes.

    python benchmarks/yardstick.py FOLDER [--task cartpole] [--method als] [--preset paper]
        [--seed 1] [--save OUT]

A yardstick is no training signal: choose settings elsewhere, and look here rarely.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.config import METHODS
from persim_gym.offline import Transitions

# The authors' code on the same files: five members, its own settings, 300 epochs.
AUTHORS = {
    "mountain-car": (0.00366, 0.00681, 0.00655, 0.00170, 0.00072),
    "cartpole": (0.00799, 0.00398, 0.00738, 0.00234, 0.33431),
}


def read(file: Path, task: str) -> tuple[Transitions, dict[str, NDArray[Any]]]:
    """The file's transitions, episodes told apart by their breaks, and its evaluation arrays."""
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    agent, obs = arrays["train_agent"].astype(np.int64), arrays["train_obs"]
    following = arrays["train_next_obs"]
    begins = np.ones(len(agent), dtype=np.bool_)
    begins[1:] = (agent[1:] != agent[:-1]) | (obs[1:] != following[:-1]).any(axis=1)
    none = np.zeros(len(agent), dtype=np.bool_)
    transitions = Transitions(
        agent=agent,
        obs=obs,
        action=arrays["train_action"].astype(np.int64),
        next_obs=following,
        reward=np.zeros(len(agent)),
        terminated=none,
        truncated=none,
        episode=np.cumsum(begins) - 1,
        num_agents=int(agent.max()) + 1,
        task_name=task,
        dataset_id=file.name,
    )
    return transitions, arrays


def rmse(sim: PerSim, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The five agents' figures."""
    start, action = arrays["eval_start"].astype(np.float32), arrays["eval_action"]
    agents, episodes, horizon, d = arrays["eval_next_obs"].shape
    rows = np.repeat(np.arange(agents), episodes)
    predicted = sim.rollout(rows, start.reshape(-1, d), action.reshape(-1, horizon).astype(int))
    error = (predicted.mean(0) - arrays["eval_next_obs"].reshape(-1, horizon, d)) ** 2
    valid = arrays["eval_valid"].reshape(-1, horizon)
    lived = valid.any(axis=1)
    squared = (error.mean(-1) * valid).sum(1)[lived] / valid.sum(1)[lived]
    return np.array([np.sqrt(squared[rows[lived] == agent]).mean() for agent in range(agents)])


def main() -> None:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=AUTHORS, help="one task alone")
    parser.add_argument("--method", default="auto", choices=METHODS)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="keep the simulators in this folder")
    options = parser.parse_args()
    for task in [options.task] if options.task else AUTHORS:
        file = options.folder / f"{task.replace('-', '_')}.npz"
        transitions, arrays = read(file, task)
        began = time.perf_counter()
        sim = PerSim.fit(
            transitions, method=options.method, preset=options.preset, seed=options.seed
        )
        seconds = time.perf_counter() - began
        ours, theirs = rmse(sim, arrays), np.array(AUTHORS[task])
        if options.save:
            sim.save(options.save / task)
        how = f"method {sim.card['fitted_by']}, preset {options.preset}, seed {options.seed}"
        print(f"{task}, {how}: fitted in {seconds:.0f} s")
        print("  agent    persim_gym   authors   ratio")
        for agent, (own, other) in enumerate(zip(ours, theirs, strict=True)):
            print(f"  {agent:<8} {own:10.2e} {other:9.2e} {own / other:8.4f}")
        own, other = np.exp(np.log(ours).mean()), np.exp(np.log(theirs).mean())
        print(f"  geo. mean{own:10.2e} {other:9.2e} {own / other:8.4f}")


if __name__ == "__main__":
    main()
