"""How a closed-form fit grows with the number of agents: time, memory, accuracy.

    python benchmarks/growth.py [100 1000 10000 100000] [--json OUT] [--plot docs/images/growth.png]

MountainCar's true physics, 50 transitions of each agent under random actions. Each size is fitted
in a process of its own, with one thread. Its memory is the most that the process has held beyond
what it held before the data were read, so the data themselves are in it. Accuracy is the open-loop
error over 50 steps under a scripted policy that made no data: the geometric mean over the same
forty agents in every size. These agents' own transitions are the same in every size, too; what
grows is the number of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitting_memory import peak
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from samples import transitions

from persim_gym.evaluation.open_loop import evaluate
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.plots.style import LIGHT, new_figure, style_axes, to_png
from persim_gym.writing import write_bytes, write_json

TASK = "mountain-car"
SIZES = (100, 1_000, 10_000, 100_000)
STEPS = 50
#: Agents that accuracy is measured on: none of the five test agents.
JUDGED = range(5, 45)
MILLION = 1_000_000
ARRAYS = ("agent", "obs", "action", "next_obs", "reward", "terminated", "truncated", "episode")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a fit of some size takes and gives.

    Attributes:
        agents: Number of agents.
        transitions: Number of transitions.
        seconds: Time by the clock.
        processor_seconds: Time of the processor: on a busy machine less than the other.
        data_bytes: Bytes of the recorded arrays.
        extra_bytes: Most memory beyond the process before the data, and beyond the data.
        factor_bytes: Bytes of the members' factors as they are kept.
        rmse: Open-loop error, geometric mean over the judged agents.
        chosen: Degree, rank and threshold.
    """

    agents: int
    transitions: int
    seconds: float
    processor_seconds: float
    data_bytes: int
    extra_bytes: int
    factor_bytes: int
    rmse: float
    chosen: tuple[int, int, float]


def resident() -> int:
    """Bytes of memory that this process holds now."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in status if x.startswith("VmRSS")).split()[1]) * 1024


def measure(file: Path, seed: int = 0) -> Growth:
    """Fit what is stored in a file, in this process."""
    torch.set_num_threads(1)
    # What is set up at the first use of torch is not the data's share.
    PerSim.fit(transitions(TASK, 12, 5), method="als", progress=False, degree=1, rank=2)
    before = resident()
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    data_bytes = sum(array.nbytes for array in arrays.values())
    num_agents = int(arrays["agent"].max()) + 1
    data = Transitions(**arrays, num_agents=num_agents, task_name=TASK)
    del arrays
    began, worked = time.perf_counter(), time.process_time()
    sim = PerSim.fit(data, method="als", seed=seed, progress=False)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    most = peak() - before
    judged = [agent for agent in JUDGED if agent < num_agents]
    error = evaluate(sim, judged, episodes=10, population=num_agents)
    chosen = sim.card["metrics"]["chosen"]
    return Growth(
        num_agents,
        len(data),
        seconds,
        processor,
        data_bytes,
        most - data_bytes,
        sim.latent_factors.nbytes,
        float(np.exp(np.log(error.rmse).mean())),
        (chosen["degree"], chosen["rank"], chosen["threshold"]),
    )


def apart(agents: int, seed: int) -> Growth:
    """Make data of a size and fit them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        store(transitions(TASK, agents, STEPS), file)
        command = [sys.executable, __file__, "--file", str(file), "--seed", str(seed)]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=alone)
    return Growth(**json.loads(done.stdout))


def store(data: Transitions, file: Path) -> None:
    """The arrays of transitions in a file."""
    np.savez(file, allow_pickle=False, **{name: getattr(data, name) for name in ARRAYS})


def slope(found: Sequence[Growth], what: str) -> float:
    """By how much something grows with each agent, between the two largest sizes."""
    less, more = found[-2:]
    return float((getattr(more, what) - getattr(less, what)) / (more.agents - less.agents))


def table(found: Sequence[Growth]) -> str:
    """The sizes as lines of a table, and what follows for a million agents."""
    lines = [
        "| agents | transitions | fit, clock | processor | per agent | data | beyond the data "
        "| factors | error | degree, rank |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {g.agents:,} | {g.transitions:,} | {g.seconds:.1f} s | {g.processor_seconds:.1f} s "
        f"| {1e3 * g.processor_seconds / g.agents:.2f} ms | {g.data_bytes / 1e6:.1f} MB "
        f"| {g.extra_bytes / 1e6:.0f} MB | {g.factor_bytes / 1e6:.2f} MB | {g.rmse:.2e} "
        f"| {g.chosen[0]}, {g.chosen[1]} |"
        for g in found
    ]
    if len(found) > 1:
        more, rest = found[-1], MILLION - found[-1].agents
        seconds = more.processor_seconds + rest * slope(found, "processor_seconds")
        data = more.data_bytes / more.agents * MILLION
        extra = more.extra_bytes + rest * slope(found, "extra_bytes")
        lines.append(
            f"\na million agents: {seconds / 60:.1f} min, {data / 1e9:.2f} GB of data and "
            f"{extra / 1e9:.2f} GB beyond them"
        )
    return "\n".join(lines)


def figure(found: Sequence[Growth]) -> Figure:
    """Time, memory and error against the number of agents."""
    drawn = new_figure(6.4, 5.6, LIGHT)
    places = ((0.09, 0.6, 0.39, 0.32), (0.59, 0.6, 0.39, 0.32), (0.09, 0.1, 0.39, 0.32))
    axes: list[Axes] = [drawn.add_axes(place) for place in places]
    n = np.array([g.agents for g in found], dtype=float)
    line: dict[str, Any] = {"lw": 1.8, "ms": 5}
    for one in axes:
        style_axes(one, LIGHT)
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_xlabel("agents of 50 transitions each", fontsize=10, color=LIGHT.faint)
    seconds = np.array([g.processor_seconds for g in found])
    axes[0].plot(n, seconds, "o-", color=LIGHT.learned, label="fit, one thread", **line)
    axes[0].plot(n, seconds[-1] * n / n[-1], color=LIGHT.faint, lw=0.9, ls=":", label="linear")
    axes[0].set_title("seconds of one processor", fontsize=10.5, color=LIGHT.ink)
    for what, label, color, mark in (
        ("data_bytes", "the data", LIGHT.true, "s--"),
        ("extra_bytes", "the fit, beyond the data", LIGHT.learned, "o-"),
        ("factor_bytes", "the factors", LIGHT.pooled, "D-."),
    ):
        megabytes = np.maximum([getattr(g, what) / 1e6 for g in found], 1e-3)
        axes[1].plot(n, megabytes, mark, color=color, label=label, **line)
    axes[1].set_title("megabytes", fontsize=10.5, color=LIGHT.ink)
    axes[2].plot(n, [g.rmse for g in found], "o-", color=LIGHT.learned, **line)
    axes[2].set_title("RMSE over 50 open-loop steps", fontsize=10.5, color=LIGHT.ink)
    handles = [line for one in axes[:2] for line in one.get_legend_handles_labels()[0]]
    drawn.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.78, 0.26), frameon=False, fontsize=10,
        labelcolor=LIGHT.ink, handlelength=2.6,
    )  # fmt: skip
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", help="numbers of agents")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fit")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--plot", type=Path, help="write the figure here, as PNG")
    parser.add_argument("--file", type=Path, help="fit this file in this process, print JSON")
    options = parser.parse_args(arguments)
    if options.file:
        print(json.dumps(asdict(measure(options.file, options.seed))))
        return
    found = []
    for agents in sorted(options.sizes or SIZES):
        found.append(apart(agents, options.seed))
        print(table(found[-1:]).splitlines()[2], flush=True)
    print(f"\n{table(found)}")
    if options.json:
        write_json(options.json, [asdict(growth) for growth in found])
    if options.plot:
        write_bytes(options.plot, to_png(figure(found)))


if __name__ == "__main__":
    main()
