"""Default fits on a machine that others use as well: one thread, and torch's own number.

    python benchmarks/crowded.py [--only cartpole-100 ...] [--rounds 3]

Each fit is a process of its own, with the machine as it is, with one busy process for each core
but one, and with a quota of half a core: a tenth of a second at a time, of which the process and
its threads may work for a twentieth, as a container's quota has it. Imports and a first small fit
are not counted. Printed are the medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from worlds.cells import Cell, chosen, full
from worlds.recording import record

from persim_gym.learned import PerSim

NAMES = ("cartpole-100", "pk1-100")
SMALL = Cell("linear", 3, steps=15)
PERIOD, QUOTA = 0.1, 0.05
PLACES = ("as it is", "other cores busy", "half a core")
BUSY = "while True: pass"


def fit(name: str) -> None:
    """Fit a cell by default in this process, and print what it took by the clock and in work."""
    recording, small = (record(cell) for cell in (*chosen(full(), [name]), SMALL))
    # What is set up at the first fit is not the fit's share.
    PerSim.fit(small.table, columns=small.columns, progress=False)
    print("ready", flush=True)
    sys.stdin.readline()
    began, worked = time.perf_counter(), time.process_time()
    PerSim.fit(recording.table, columns=recording.columns, progress=False)
    print(json.dumps([time.perf_counter() - began, time.process_time() - worked]), flush=True)


def took(name: str, place: str, threads: int | None) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, of one fit.

    Args:
        name: Of the cell.
        place: Of :data:`PLACES`.
        threads: What ``OMP_NUM_THREADS`` asks for, if anything.
    """
    asked = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, __file__, "--fit", name]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                env=kept | asked,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        if place == PLACES[1]:
            stack.enter_context(busy((os.cpu_count() or 1) - 1))
        print(file=process.stdin, flush=True)
        if place == PLACES[2]:
            hold(process)
        said = process.stdout.readline()
        if not said:
            raise RuntimeError(f"the fit of {name} ended with status {process.wait()}")
        seconds, worked = json.loads(said)
    return seconds, worked


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Have that many other processes work all the time."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def hold(process: subprocess.Popen[str]) -> None:
    """Let a process have its quota of each period until it ends."""
    while process.poll() is None:
        began, worked = time.perf_counter(), work(process.pid)
        while process.poll() is None and time.perf_counter() - began < PERIOD:
            if work(process.pid) - worked >= QUOTA:
                process.send_signal(signal.SIGSTOP)
                try:
                    time.sleep(max(0.0, PERIOD - (time.perf_counter() - began)))
                finally:
                    process.send_signal(signal.SIGCONT)
                break
            time.sleep(0.002)


def work(pid: int) -> float:
    """Seconds that all threads of a process have worked (Linux)."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def main() -> None:
    """Measure in turn, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(NAMES), help="cells of the worlds")
    parser.add_argument("--rounds", type=int, default=3, help="fits of each kind")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit(options.fit)
        return
    cores = os.cpu_count() or 1
    kinds = {"default": None, f"{cores} threads": cores}
    print(f"| fit | machine | {' | '.join(kinds)} |\n| --- | --- | --- | --- |")
    for name in options.only:
        for place in PLACES:
            runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, threads in kinds.items():
                    runs[kind].append(took(name, place, threads))
            texts = [
                f"{median(a for a, _ in times):.1f} s, of the processor "
                f"{median(b for _, b in times):.1f} s"
                for times in runs.values()
            ]
            print(f"| {name} | {place} | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
