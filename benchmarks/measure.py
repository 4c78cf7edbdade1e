"""What all benchmarks share: interleaved timing, rows of the table, facts about the machine.

A number of a benchmark is a ratio of two times of the same run. The sides are timed in turn,
A B A B, a few times, and the best time of each is kept: that is one round. What is reported is the
median over rounds, with the smallest and the largest. A machine that grows slower or busier in the
course of a run slows both sides of a ratio alike.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

#: Takes a measurement: seconds for one unit of work (a step, a decision, an epoch).
Side = Callable[[], float]

#: What time is read from: ``--processor`` counts this process's own work.
_clock = time.perf_counter

PACKAGES = ("persim-gym", "gymnasium", "numpy", "torch", "mujoco")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Rounds, over which the median is taken.
        best_of: Measurements of each side in a round, of which the best counts.
        size: Factor on lanes, candidates, transitions and the like. Below 1 a benchmark shows that
            it runs, and measures something else.
        seconds: About how long one measurement of a fast side should take.
    """

    rounds: int
    best_of: int
    size: float = 1.0
    seconds: float = 0.2

    def scaled(self, full: int, least: int = 1) -> int:
        """A size of the full benchmark at this effort."""
        return max(least, round(full * self.size))


FULL = Effort(rounds=5, best_of=3)
QUICK = Effort(rounds=3, best_of=1, seconds=0.1)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        ours: This library's number, in words.
        peer: What it stands beside, by name and in words.
        value: The number that counts: the median over rounds.
        low: Its smallest value over rounds.
        high: Its largest.
        unit: ``"x"`` for a ratio, or another unit.
        better: Whether more or less of it is better.
        target: Where it must be, or ``None`` where it is for information.
        goal: Where it should come to be, or ``None``.
    """

    name: str
    ours: str
    peer: str
    value: float
    low: float
    high: float
    unit: str = "x"
    better: Literal["more", "less"] = "more"
    target: float | None = None
    goal: float | None = None

    def reaches(self, bound: float | None) -> bool | None:
        """Whether the value is as good as ``bound``; ``None`` without one."""
        if bound is None:
            return None
        return self.value >= bound if self.better == "more" else self.value <= bound

    @property
    def verdict(self) -> str:
        """The best of ``"goal"``, ``"target"`` and ``"missed"`` that holds, or nothing."""
        if self.reaches(self.goal):
            return "goal"
        if self.target is None:
            return "" if self.goal is None else "below goal"
        return "target" if self.reaches(self.target) else "missed"


def row(name: str, ours: str, peer: str, values: NDArray[np.float64], **bounds: Any) -> Row:
    """A row from one value a round."""
    median = float(np.median(values))
    return Row(name, ours, peer, median, float(values.min()), float(values.max()), **bounds)


def interleave(effort: Effort, **sides: Side) -> dict[str, NDArray[np.float64]]:
    """Time all sides in turn.

    Args:
        effort: Rounds, and measurements in each.
        **sides: What to time, by name; each has run before, so that it is warm.

    Returns:
        The best seconds of each side in each round ``[rounds]``.
    """
    times = {name: np.full(effort.rounds, math.inf) for name in sides}
    for i in range(effort.rounds):
        for _ in range(effort.best_of):
            for name, side in sides.items():
                times[name][i] = min(times[name][i], side())
    return times


def repeated(work: Callable[[], object], seconds: float) -> Side:
    """A side that runs ``work`` as often as fits into ``seconds``, at least once; warmed up."""
    last = _timed(work)
    if last < seconds:  # the first run of something fast says little
        last = _timed(work)
    times = max(1, int(seconds / max(last, 1e-9)))

    def side() -> float:
        began = _clock()
        for _ in range(times):
            work()
        return (_clock() - began) / times

    return side


def _timed(work: Callable[[], object]) -> float:
    began = _clock()
    work()
    return _clock() - began


#: Edge of the square matrices by which the machine's speed is measured.
MATRIX = 2048


def multiply_add(effort: Effort) -> Side:
    """A side that gives the seconds of one multiply-add, as a large float32 matrix product has it.

    With torch's threads: what the processor can do at most, at this moment.
    """
    edge = effort.scaled(MATRIX, 64)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(edge, edge, generator=generator) for _ in range(2))
    out = torch.empty(edge, edge)
    side = repeated(lambda: torch.mm(a, b, out=out), effort.seconds)
    return lambda: side() / edge**3


@contextmanager
def at_most_two_cores() -> Iterator[None]:
    """Two cores for this process, where the system lets a process choose."""
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def amount(value: float, unit: str) -> str:
    """A number with three digits and a prefix: ``amount(2.3e6, "steps/s")`` is 2.3 Msteps/s."""
    prefixes: tuple[tuple[float, str], ...]
    if unit == "s":
        prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))
    else:
        prefixes = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
    scale, prefix = next((p for p in prefixes if abs(value) >= p[0]), prefixes[-1])
    return f"{value / scale:.3g} {prefix}{unit}"


def facts() -> dict[str, Any]:
    """What the numbers depend on, beside the code."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "torch_threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


HEADINGS = ("Benchmark", "persim_gym", "beside", "value", "range", "bound", "reached")


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, laid out for reading as it stands."""
    cells = [HEADINGS, *(_cells(r) for r in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def _cells(r: Row) -> tuple[str, ...]:
    unit = "" if r.unit == "x" else f" {r.unit}"
    sign = "≥" if r.better == "more" else "≤"
    bounds = [f"{sign} {r.target:g}"] if r.target is not None else []
    bounds += [f"goal {r.goal:g}"] if r.goal is not None else []
    range_ = f"{r.low:.3g} to {r.high:.3g}"
    return r.name, r.ours, r.peer, f"{r.value:.3g}{unit}", range_, ", ".join(bounds), r.verdict


def main(
    benchmarks: Mapping[str, Callable[[Effort], Iterator[Row]]],
    arguments: Sequence[str] | None = None,
) -> None:
    """The command line of every script: run, print the table, write JSON if asked.

    Args:
        benchmarks: What can be run, by name; with more than one the command line may name some.
        arguments: The command line, by default this process's.
    """
    parser = argparse.ArgumentParser(description="Speed of persim_gym, as ratios.")
    if len(benchmarks) > 1:
        parser.add_argument(
            "names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks)}; default: all"
        )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows to a file as well")
    parser.add_argument("--threads", type=int, help="torch's threads, by default torch's choice")
    parser.add_argument(
        "--processor",
        action="store_true",
        help="count the processor's time, which other work on the machine makes no longer",
    )
    options = parser.parse_args(arguments)
    if options.processor:
        global _clock
        _clock = time.process_time
    names = getattr(options, "names", None) or list(benchmarks)
    if unknown := sorted(set(names) - set(benchmarks)):
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join(benchmarks)}")
    if options.threads is not None:
        if options.threads < 1:
            parser.error(f"--threads must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)

    machine = facts()
    print(*(f"{key}: {value}" for key, value in machine.items()), sep="\n", end="\n\n")
    rows = []
    for name in names:
        for result in benchmarks[name](QUICK if options.quick else FULL):
            rows.append(result)
            # To a terminal's other channel, so that the table alone can be piped into a file.
            print(f"{name}: {result.name}: {result.value:.3g}", file=sys.stderr, flush=True)
    print(table(rows))
    if options.json is not None:
        content = {
            "machine": machine,
            "quick": options.quick,
            "rows": [{**asdict(r), "reached": r.verdict} for r in rows],
        }
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
