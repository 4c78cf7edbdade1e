"""PerSim beside simple references in worlds with a known truth.

python -m benchmarks.worlds quick
python -m benchmarks.worlds full --only prey '*noise*' --jobs 4 --label mine --fit method=als
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .cells import PRESETS, chosen
from .methods import NEEDS, PERSIM, REFERENCES
from .runner import Folder, run
from .table import draw, line_of, text_of, write_csv


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, got {options.seed}")
    if not options.label.replace("-", "").replace("_", "").isalnum():
        parser.error(f"--label must be letters, digits and hyphens, got {options.label!r}")
    methods = options.methods or [
        name for name in (*REFERENCES, PERSIM) if find_spec(NEEDS.get(name, "torch"))
    ]
    for name in methods:
        if not find_spec(NEEDS.get(name, "torch")):
            parser.error(f"{name} needs {NEEDS[name]}: pip install persim-gym[benchmarks]")
    torch.set_num_threads(1)
    folder = Folder(options.out, options.label, _fit_options(parser, options.fit))
    try:
        cells = chosen(PRESETS[options.preset](), options.only)
        cells = [replace(cell, seed=options.seed) for cell in cells]
        if not options.report:
            run(cells, methods, folder, options.jobs)
        lines = []
        for cell in cells:
            found = {name: folder.row(cell, name) for name in (PERSIM, *REFERENCES)}
            rows = {name: row for name, row in found.items() if row is not None}
            if rows:
                lines.append(line_of(cell, rows))
    except ValueError as error:
        parser.error(str(error))
    if not lines:
        parser.error(f"no row of these cells is in {options.out}: run without --report first")
    print(text_of(lines))
    name = f"{options.preset}-{options.label}" + (f"-seed-{options.seed}" if options.seed else "")
    write_csv(lines, options.out / f"{name}.csv")
    draw(lines, options.out / f"{name}.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.worlds", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("preset", choices=PRESETS, help="which cells")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="worlds, or patterns of cells"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws; the tables' is 0")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--methods", nargs="+", choices=(PERSIM, *REFERENCES), metavar="NAME",
        help=f"of {', '.join((PERSIM, *REFERENCES))}; default: all whose library is there",
    )  # fmt: skip
    parser.add_argument(
        "--label", default="default", help="which PerSim: its rows are kept by this name"
    )
    parser.add_argument(
        "--fit", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of PerSim.fit"
    )
    parser.add_argument("--report", action="store_true", help="only print the rows that are there")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/worlds"), metavar="FOLDER", help="where rows are"
    )
    return parser


def _fit_options(parser: argparse.ArgumentParser, pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key.isidentifier() and sign):
            parser.error(f"--fit takes arguments such as degree=2, got {pair!r}")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


if __name__ == "__main__":
    main()
