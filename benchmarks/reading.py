"""Speed and memory of the way from disk to what a fit trains on.

HalfCheetah, 500 recorded trajectories of 1,000 steps. Beside it, in turn, the least that any reader
must do: read the bytes of the data set's files, and copy arrays of the data's size once. The files
lie in the system's cache, for all sides alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure import Effort, Row, amount, interleave, main, repeated, row
from minari import MinariDataset

from persim_gym.learned.config import preset_config
from persim_gym.learned.networks.optimise import Scaled
from persim_gym.learned.preparation import Data, prepare, task_of
from persim_gym.offline import Transitions, read_transitions, record

TASK = "half-cheetah"
AGENTS = 500


def rows(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = recorded(Path(folder), effort.scaled(AGENTS, 2))
        yield from speed(data, effort)
        yield from memory(data, effort)


def recorded(root: Path, agents: int) -> Path:
    """The folder of a new data set."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        return Path(record(TASK, "random", agents, progress=False).storage.data_path)
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def training_tensors(data: MinariDataset | Path) -> Scaled:
    """All that comes before the first step of a fit."""
    transitions = read_transitions(data)
    ready = prepare(Data(transitions, task_of(TASK)), preset_config("default", TASK))
    return ready.training_data(torch.device("cpu"))


def arrays(data: Transitions) -> list[np.ndarray]:
    return [values for values in vars(data).values() if isinstance(values, np.ndarray)]


def speed(folder: Path, effort: Effort) -> Iterator[Row]:
    files = [file for file in folder.iterdir() if file.is_file()]
    held = arrays(read_transitions(folder))
    count, size = len(held[0]), sum(values.nbytes for values in held)
    on_disk = sum(file.stat().st_size for file in files)
    times = interleave(
        effort,
        read=repeated(lambda: read_transitions(folder), effort.seconds),
        tensors=repeated(lambda: training_tensors(folder), effort.seconds),
        bytes=repeated(lambda: [file.read_bytes() for file in files], effort.seconds),
        copy=repeated(lambda: [values.copy() for values in held], effort.seconds),
    )
    median = {name: amount(float(np.median(seconds)), "s") for name, seconds in times.items()}
    name = f"{count:,} transitions, {TASK}"
    peers = {
        "bytes": f"the files' bytes: {median['bytes']} for {amount(on_disk, 'B')}",
        "copy": f"a copy in memory: {median['copy']} for {amount(size, 'B')}",
    }
    for peer, words in peers.items():
        ratio = times["read"] / times[peer]
        yield row(f"read {name}", median["read"], words, ratio, better="less")
    for peer, words in peers.items():
        ratio = times["tensors"] / times[peer]
        yield row(f"training tensors of {name}", median["tensors"], words, ratio, better="less")
    yield row(
        f"disk to training tensors, {name}",
        median["tensors"],
        f"of which reading: {median['read']}",
        times["tensors"],
        unit="s",
        better="less",
        target=3,
    )


def memory(folder: Path, effort: Effort) -> Iterator[Row]:
    data = read_transitions(folder)
    size = sum(values.nbytes for values in arrays(data))
    script = Path(__file__).with_name("reading_memory.py")
    for stage, target in (("transitions", None), ("tensors", 2)):
        growth = np.array(
            [_growth(script, folder, stage) for _ in range(min(3, effort.rounds))], dtype=float
        )
        yield row(
            f"memory from disk to {stage}, {len(data):,} transitions, {TASK}",
            f"at most {amount(float(np.median(growth)), 'B')} more",
            f"the data: {amount(size, 'B')}",
            growth / size,
            better="less",
            target=target,
        )


def _growth(script: Path, folder: Path, stage: str) -> float:
    done = subprocess.run(
        [sys.executable, str(script), str(folder), stage],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    main({"reading": rows})
