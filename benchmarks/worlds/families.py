"""Each family alone beside the default: is what is chosen as good as the best of them?

    python -m benchmarks.worlds.families full [--only PATTERN ...] [--jobs 2] [--report]

Families are fitted with ``method=``, and compared with the default by their errors against the
truth, agent by agent. Rows of the default that are in the folder are not fitted again.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from persim_gym.files import write_text

from .cells import PRESETS, Cell, chosen
from .methods import PERSIM
from .runner import Folder, run
from .score import BEHAVIOURS, HORIZONS, LEAST
from .world import Floats

FAMILIES = ("als", "hierarchical", "latent")
#: Standard errors of the agents' mean within which a difference may be noise.
SURE = 2.0
#: A ratio up to which the default counts as no worse than a family.
ENOUGH = 1.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """The default beside one family.

    Attributes:
        ratio: Its error over the family's: geometric mean over agents, behaviours and horizons.
        low: The least that this may be, :data:`SURE` standard errors below.
    """

    ratio: float
    low: float


@dataclass(frozen=True, slots=True)
class Line:
    """A cell.

    Attributes:
        cell: The cell.
        taken: What the default took.
        families: The default beside each family that could be fitted.
    """

    cell: Cell
    taken: str
    families: Mapping[str, Comparison]

    @property
    def best(self) -> str:
        """The family with the least error against the truth."""
        return max(self.families, key=lambda name: self.families[name].ratio)


def logarithms(row: Mapping[str, Any]) -> Floats:
    """Logarithms of errors ``[agents, behaviours * horizons]``; nan where there is no episode."""
    errors = [row["errors"][b][str(h)] for b in BEHAVIOURS for h in HORIZONS]
    return np.log(np.maximum(np.array(errors, dtype=np.float64), LEAST)).T


def compared(default: Mapping[str, Any], family: Mapping[str, Any]) -> Comparison:
    """Compare rows of the same cell by their agents."""
    off = logarithms(default) - logarithms(family)
    own = np.nanmean(off[np.isfinite(off).any(axis=1)], axis=1)
    # Of one agent alone nothing is sure.
    spread = float(own.std(ddof=1)) if len(own) > 1 else math.inf
    mean, error = float(own.mean()), spread / math.sqrt(len(own))
    return Comparison(math.exp(mean), math.exp(mean - SURE * error))


def line_of(cell: Cell, default: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Line:
    """A cell's rows as a line; a family that failed is left out."""
    fitted = {name: row for name, row in rows.items() if "errors" in row}
    return Line(cell, default["fitted_by"], {n: compared(default, r) for n, r in fitted.items()})


def text_of(lines: Sequence[Line]) -> str:
    """The lines as a table, and what they say together."""
    table = [
        f"| cell | taken | {' | '.join(FAMILIES)} | least over the best |",
        "| --- | --- |" + " ---: |" * (len(FAMILIES) + 1),
    ]
    for line in lines:
        known = [line.families.get(name) for name in FAMILIES]
        shown = ["" if one is None else f"{one.ratio:.2f}" for one in known]
        least = f"{line.families[line.best].low:.2f}"
        table.append(f"| {line.cell.name} | {line.taken} | {' | '.join(shown)} | {least} |")
    ratios = np.array([line.families[line.best].ratio for line in lines])
    surely = sum(line.families[line.best].low > ENOUGH for line in lines)
    single = {
        name: [line.families[name].ratio for line in lines if name in line.families]
        for name in FAMILIES
    }
    said = "; ".join(f"{n} {np.exp(np.log(r).mean()):.2f}" for n, r in single.items() if r)
    return "\n".join(
        [
            *table,
            "",
            f"Over the best family: {np.exp(np.log(ratios).mean()):.2f} (geometric mean of "
            f"{len(lines)} cells), at most {ENOUGH} in {int((ratios <= ENOUGH).sum())}, surely "
            f"above it in {surely}. Over one family everywhere: {said}.",
        ]
    )


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """Write every ratio: a row a cell and family."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["cell", "taken", "family", "ratio", "least"])
    for line in lines:
        for name, one in line.families.items():
            numbers = f"{one.ratio:.4g}", f"{one.low:.4g}"
            writer.writerow([line.cell.name, line.taken, name, *numbers])
    write_text(path, out.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.worlds.families", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("preset", choices=PRESETS, help="which cells")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--report", action="store_true", help="only print rows that are there")
    parser.add_argument("--out", type=Path, default=Path("runs/worlds"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folders = {name: Folder(options.out, name, {"method": name}) for name in FAMILIES}
    default = Folder(options.out)
    try:
        cells = chosen(PRESETS[options.preset](), options.only)
        lines = []
        for folder in [] if options.report else [default, *folders.values()]:
            run(cells, [PERSIM], folder, options.jobs)
        for cell in cells:
            rows = {name: folder.row(cell, PERSIM) for name, folder in folders.items()}
            there = {name: row for name, row in rows.items() if row is not None}
            own = default.row(cell, PERSIM)
            if own and "errors" in own and any("errors" in row for row in there.values()):
                lines.append(line_of(cell, own, there))
    except ValueError as error:
        parser.error(str(error))
    if not lines:
        parser.error(f"no rows of these cells are in {options.out}: run without --report first")
    print(text_of(lines))
    write_csv(lines, options.out / f"{options.preset}-families.csv")


if __name__ == "__main__":
    main()
