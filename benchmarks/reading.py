"""Speed and memory of the way from disk to what a fit trains on, its checks among it.

HalfCheetah, 500 recorded trajectories of 1,000 steps. Beside it, in turn, the least that any reader
must do: read the bytes of the data set's files, and copy arrays of the data's size once. The files
lie in the system's cache, for all sides alike.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure import Effort, Row, amount, interleave, main, repeated, row
from minari import MinariDataset

from persim_gym.learned.data import Data
from persim_gym.learned.networks.optimise import Scaled
from persim_gym.learned.networks.preparation import prepare
from persim_gym.learned.preparation import task_of
from persim_gym.learned.presets import preset_config
from persim_gym.offline import Transitions, integrity, read_transitions, record
from persim_gym.offline.authors import from_authors_file

TASK = "half-cheetah"
AGENTS = 500


def rows(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = recorded(Path(folder), effort.scaled(AGENTS, 2))
        yield from speed(data, effort)
        yield from checking(data, effort)
        yield from importing(Path(folder), data, effort)
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


def checking(folder: Path, effort: Effort) -> Iterator[Row]:
    """What the hash costs when a data set is read first, and when it is read again."""

    def first() -> object:
        integrity._intact.clear()
        return read_transitions(folder)

    times = interleave(
        effort,
        without=repeated(lambda: read_transitions(folder, verify=False), effort.seconds),
        first=repeated(first, effort.seconds),
        again=repeated(lambda: read_transitions(folder), effort.seconds),
    )
    median = {name: amount(float(np.median(seconds)), "s") for name, seconds in times.items()}
    name = f"{len(read_transitions(folder)):,} transitions, {TASK}"
    peer = f"without a check: {median['without']}"
    for side, words, target in (("first", "first time", 2.0), ("again", "again", 1.1)):
        ratio = times[side] / times["without"]
        title = f"checked reading, {words}, {name}"
        yield row(title, median[side], peer, ratio, better="less", target=target)


def importing(root: Path, folder: Path, effort: Effort) -> Iterator[Row]:
    """A pickle like the authors', beside Python's own reader of pickles, which limits nothing."""
    data = read_transitions(folder).select(np.arange(len(read_transitions(folder)) // 10 or 1))
    file = root / "halfCheetah_random_0.0_0.pkl"
    with file.open("wb") as opened:
        pickle.dump(trajectories(data), opened, protocol=3)
    times = interleave(
        effort,
        ours=repeated(lambda: from_authors_file(file, TASK), effort.seconds),
        pickle=repeated(lambda: pickle.loads(file.read_bytes()), effort.seconds),
    )
    median = {name: amount(float(np.median(seconds)), "s") for name, seconds in times.items()}
    size = amount(file.stat().st_size, "B")
    name = f"import of a pickle, {size}, {len(data):,} transitions in steps, {TASK}"
    peer = f"pickle.loads: {median['pickle']}"
    yield row(name, median["ours"], peer, times["ours"] / times["pickle"], better="less")


def trajectories(data: Transitions) -> list[dict[str, object]]:
    """Transitions as the authors keep them: lists with an array for every step."""
    ends = (data.starts + data.lengths).tolist()
    found = []
    for first, last in zip(data.starts.tolist(), ends, strict=True):
        rows = slice(first, last)
        found.append(
            {
                "observations": [*data.obs[rows].astype(np.float64)],
                "next_observations": [*data.next_obs[rows].astype(np.float64)],
                "actions": [*data.action[rows]],
                "rewards": [*data.reward[rows]],
                "dones": [*(data.terminated | data.truncated)[rows]],
                "unit_info": {"id": int(data.agent[first])},
            }
        )
    return found


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
