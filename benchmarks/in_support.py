"""In-support planning on HalfCheetah: candidates of the behaviour's own beside the planner's.

For each data set, a simulator and a model of the behaviour are fitted to the same agents' data.
Then, in the true environment: the model of the behaviour alone, SfBC, and MPC in the simulator with
the task's planner, with uniform random shooting, and with candidates that the behaviour would take
(as many and as long ones as the task's planner has in its first round), and the same objective.

    python benchmarks/in_support.py --out docs/images/in-support.png
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.baselines import SfBC
from persim_gym.envs.suites import find_suite
from persim_gym.evaluation import episode_returns
from persim_gym.learned import PerSim
from persim_gym.offline import read_transitions, record
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC, RandomShooting, choose_planner

TASK = "half-cheetah"
TITLES = ("behaviour", "diffusion clone", "SfBC", "MPC", "MPC, shooting", "MPC, in support")


def recorded(behaviour: str, agents: int, steps: int) -> Transitions:
    """One trajectory of each agent, kept nowhere."""
    import os

    with TemporaryDirectory() as folder:
        before = os.environ.get("MINARI_DATASETS_PATH")
        os.environ["MINARI_DATASETS_PATH"] = folder
        try:
            record(TASK, behaviour, agents, max_episode_steps=steps, progress=False)
            return read_transitions(f"persim/{TASK}/{behaviour}-v0")
        finally:
            if before is None:
                del os.environ["MINARI_DATASETS_PATH"]
            else:
                os.environ["MINARI_DATASETS_PATH"] = before


def compare(behaviour: str, args: argparse.Namespace) -> dict[str, NDArray[np.float64]]:
    """Returns ``[agents, episodes]`` of all ways to act, by their titles."""
    suite = find_suite(TASK)
    task, true = suite.task(), suite.dynamics(suite.population())
    data = recorded(behaviour, args.agents, args.recorded)
    sim = PerSim.fit(data, effort=args.effort, ensemble_size=args.members, progress=False)
    sfbc = SfBC.fit(
        data, updates=args.updates, critic_updates=max(1, args.updates // 5), planned=8, rounds=1,
        average=4, progress=False,
    )  # fmt: skip
    clone = SfBC(task, replace(sfbc.config, rounds=0), sfbc.tensors, sfbc.card, sfbc.device)
    judged = list(range(args.judged))
    choice = choose_planner(task)
    shooting = RandomShooting(args.candidates, choice.planner.horizon)
    same = replace(choice, planner=shooting)
    ways: tuple[Any, ...] = (
        behaviour,
        clone,
        sfbc,
        MPC(sim, judged),
        MPC(sim, judged, planner=same),
        MPC(sim, judged, planner=same, proposal=sfbc),
    )
    found: dict[str, NDArray[np.float64]] = {}
    for title, way in zip(TITLES, ways, strict=True):
        began = time.process_time()
        found[title] = episode_returns(
            task, true, judged, way, args.episodes, seed=1, max_episode_steps=args.steps,
            deterministic=title != "diffusion clone",
        )  # fmt: skip
        seconds = time.process_time() - began
        each = " ".join(f"{value:6.0f}" for value in found[title].mean(axis=1))
        print(
            f"{behaviour:8} {title:16} {found[title].mean():7.1f}  [{each}] {seconds:6.1f} s",
            flush=True,
        )
    return found


def draw(found: dict[str, dict[str, NDArray[np.float64]]], steps: int, out: Path) -> None:
    """Mean returns as bars, the agents as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4.2 * len(found), 3.2), squeeze=False)
    for axis, (behaviour, ways) in zip(axes[0], found.items(), strict=True):
        for place, returns in enumerate(ways.values()):
            axis.barh(place, returns.mean(), color="#2a6f97" if place < 5 else "#e76f51", alpha=0.8)
            axis.plot(returns.mean(axis=1), [place] * len(returns), "k.", markersize=4)
        axis.set_yticks(range(len(ways)), list(ways))
        axis.invert_yaxis()
        axis.set(title=f"{behaviour} data", xlabel=f"true return of {steps} steps")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=["pure", "random"])
    sizes = {"agents": 25, "recorded": 1000, "judged": 5, "episodes": 1, "steps": 200,
             "members": 2, "updates": 4000, "candidates": 60}  # fmt: skip
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--out", type=Path, help="the figure")
    parser.add_argument("--json", type=Path, help="the numbers")
    args = parser.parse_args(argv)
    found = {behaviour: compare(behaviour, args) for behaviour in args.datasets}
    if args.out:
        draw(found, args.steps, args.out)
    if args.json:
        plain = {
            data: {title: returns.tolist() for title, returns in ways.items()}
            for data, ways in found.items()
        }
        args.json.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
