"""Draw a benchmark's figures again from its table of numbers, without its rows.

    python tools/benchmark_figures.py docs/results/benchmark.csv docs/images/benchmark

A report writes ``results.csv``, which holds all that its figures show but single agents' latent
factors: those figures are not drawn.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persim_gym.experiments.cell import Cell
from persim_gym.experiments.quantities import ALL, Quantity
from persim_gym.experiments.report.figure_list import drawings
from persim_gym.experiments.results import Findings, Slot, slot_of
from persim_gym.experiments.statistics import Summary
from persim_gym.plots import style
from persim_gym.writing import write_bytes


@dataclass
class _Numbers:
    """What figures use of a group of rows: its cell, and what is said of each quantity."""

    cell: Cell
    summaries: dict[Quantity, Summary] = field(default_factory=dict)

    @property
    def values(self) -> Iterable[Quantity]:
        """The quantities that are known."""
        return self.summaries


class TableFindings(Findings):
    """Findings whose rows are gone: the lines of ``results.csv``."""

    def __init__(self, lines: Iterable[Mapping[str, str]]) -> None:
        super().__init__(())
        found: dict[Slot, _Numbers] = {}
        for line in lines:
            cell = _cell(line)
            agent = ALL if line["agent"] == ALL else int(line["agent"])
            name = Quantity(line["measure"], agent, line["policy"] or None, line["known"] or None)
            own = found.setdefault(slot_of(cell), _Numbers(cell))
            own.summaries[name] = _summary(line)
        self.by_slot: dict[Slot, Any] = found


def _cell(line: Mapping[str, str]) -> Cell:
    """The cell that a line is about, with the first seed."""
    plain: dict[str, Any] = {
        "experiment": line["experiment"], "task": line["task"], "dataset": line["dataset"] or None,
        "method": line["method"], "planner": line["planner"] or None,
        "fit": tuple(json.loads(line["fit"] or "{}").items()),
        "penalty": float(line["penalty"]) if line["penalty"] else None,
    }  # fmt: skip
    for name in ("train_agents", "max_episode_steps", "episodes"):
        if line[name]:
            plain[name] = int(line[name])
    if line["experiment"] == "unseen":  # the table does not say who: the first that were left out
        plain["agents"] = tuple(range(plain["train_agents"], plain["train_agents"] + 5))
    return Cell(**plain)


def _summary(line: Mapping[str, str]) -> Summary:
    mean, sd, iqm, low, high = (
        float(line[name]) if line[name] else math.nan
        for name in ("mean", "sd", "iqm", "low", "high")
    )
    return Summary(mean, sd, iqm, low, high, int(line["seeds"]), int(line["episodes"] or 1))


def draw(table: Path, out: Path) -> list[Path]:
    """Draw what the table holds, for light screens; the files, in the report's order."""
    with table.open(encoding="utf-8", newline="") as file:
        findings = TableFindings(csv.DictReader(file))
    return [
        write_bytes(out / f"{own.name}.png", style.to_png(own.draw(theme=style.LIGHT)))
        for own in drawings(findings)
        if own.section != "latent"
    ]


def main() -> None:
    """Draw and print the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, help="results.csv of a report")
    parser.add_argument("out", type=Path, help="folder of the figures")
    options = parser.parse_args()
    for path in draw(options.table, options.out):
        print(path)


if __name__ == "__main__":
    main()
