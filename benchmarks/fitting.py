"""Speed of a fit at the paper's settings, beside a straightforward loop; and its memory.

Five members are fitted together; the time is that of an epoch, divided by five. The loop of
`reference_fit.py` fits one member; it is timed on a part of an epoch's batches, scaled to all of
them, with one thread and with all, whichever is faster.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from measure import Effort, Row, Side, amount, interleave, main, row
from reference_fit import ReferenceFit, ReferenceNet, samples
from samples import AGENTS, transitions

from persim_gym.learned import PerSim
from persim_gym.learned.config import Networks
from persim_gym.learned.preparation import task_of
from persim_gym.learned.presets import preset_config
from persim_gym.offline.transitions import Transitions

MEMBERS = 5
#: Transitions of each agent: 247,000 and 11,500 in all.
STEPS = {"mountain-car": 494, "cartpole": 23}
#: Batches of the reference loop that are timed.
REFERENCE_BATCHES = {"mountain-car": 40, "cartpole": 90}


def rows(effort: Effort) -> Iterator[Row]:
    for task_name, steps in STEPS.items():
        data = transitions(task_name, effort.scaled(AGENTS, 5), steps)
        yield speed(task_name, data, effort)
        if task_name == "mountain-car":
            yield memory(data, effort)


def speed(task_name: str, data: Transitions, effort: Effort) -> Row:
    config = preset_config("paper", task_name)
    part = effort.scaled(REFERENCE_BATCHES[task_name], 2)
    times = interleave(
        effort,
        ours=lambda: stacked_epoch(data) / MEMBERS,
        reference=reference_epoch(task_name, data, config, part),
    )
    batches = -(-len(data) // config.batch_size)
    ours, reference = (amount(float(np.median(t)), "s") for t in times.values())
    return row(
        f"fit, {task_name}, {len(data):,} transitions, batch {config.batch_size}",
        f"{ours} a member and epoch",
        f"DataLoader and autograd: {reference} (from {min(part, batches)} of {batches} batches)",
        times["reference"] / times["ours"],
        target=10,
        goal=40,
    )


def stacked_epoch(data: Transitions) -> float:
    """Seconds of the faster of two epochs of all members."""
    seconds = [0.0]
    PerSim.fit(
        data,
        preset="paper",
        ensemble_size=MEMBERS,
        epochs=2,
        progress=False,
        on_epoch=lambda progress: seconds.append(progress.seconds),
    )
    return float(np.diff(seconds).min())


def reference_epoch(task_name: str, data: Transitions, config: Networks, batches: int) -> Side:
    num_actions = int(task_of(task_name).action_space.n)  # type: ignore[union-attr]
    obs_dim = data.obs.shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ReferenceNet(
            data.num_agents, obs_dim, num_actions, config.rank, config.state_hidden, ()
        )
    fit = ReferenceFit(samples(data, num_actions), net, config.batch_size)
    all_threads = torch.get_num_threads()

    fit.seconds_an_epoch(2)

    def side() -> float:
        times = []
        for threads in sorted({1, all_threads}):
            torch.set_num_threads(threads)  # all of them last, as it was
            times.append(fit.seconds_an_epoch(batches))
        return min(times)

    return side


def memory(data: Transitions, effort: Effort) -> Row:
    size = sum(array.nbytes for array in vars(data).values() if isinstance(array, np.ndarray))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "transitions.npz"
        arrays = {f.name: getattr(data, f.name) for f in fields(data)}
        plain = (np.ndarray, int, str)
        np.savez(file, **{name: a for name, a in arrays.items() if isinstance(a, plain)})
        script = Path(__file__).with_name("fitting_memory.py")
        growth = np.array([_growth(script, file) for _ in range(min(3, effort.rounds))])
    return row(
        f"memory of a fit, {data.task_name}, {len(data):,} transitions",
        f"at most {amount(float(np.median(growth)), 'B')} more",
        f"the data: {amount(size, 'B')}",
        growth / size,
        better="less",
        target=3,
    )


def _growth(script: Path, file: Path) -> float:
    done = subprocess.run(
        [sys.executable, str(script), str(file)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main({"fitting": rows})
