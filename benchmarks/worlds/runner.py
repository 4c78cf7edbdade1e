"""Rows on disk, one JSON file a cell and method; what is there is not computed again."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persim_gym.writing import write_json

from .cells import Cell
from .methods import PERSIM, row_of


@dataclass(frozen=True, slots=True)
class Folder:
    """Where rows are: the references' apart from PerSim's, which are kept by a label.

    Attributes:
        path: The folder.
        label: Which PerSim.
        options: Arguments of ``PerSim.fit`` that are not its defaults.
    """

    path: Path
    label: str = "default"
    options: Mapping[str, Any] = field(default_factory=dict)

    def file(self, cell: Cell, method: str) -> Path:
        """The file of a row."""
        kind = f"persim-{self.label}" if method == PERSIM else "references"
        return self.path / kind / method / f"{cell.key}.json"

    def row(self, cell: Cell, method: str) -> dict[str, Any] | None:
        """A row that is there.

        Raises:
            ValueError: If PerSim's was fitted with other options.
        """
        file = self.file(cell, method)
        if not file.exists():
            return None
        row: dict[str, Any] = json.loads(file.read_text())
        if method == PERSIM and row["options"] != dict(self.options):
            raise ValueError(
                f"{file.parent.parent} holds fits with options {row['options']}, and "
                f"{dict(self.options)} are asked for: choose another --label"
            )
        return row

    def write(self, cell: Cell, method: str, row: dict[str, Any]) -> None:
        """Write a row."""
        if method == PERSIM:
            row = {**row, "options": dict(self.options)}
        write_json(self.file(cell, method), row)


def run(cells: Sequence[Cell], methods: Sequence[str], folder: Folder, jobs: int) -> None:
    """Compute the rows that are missing.

    Args:
        cells: The cells.
        methods: Names of methods.
        folder: Where rows go.
        jobs: Processes, of one thread each.
    """
    missing = [(c, m) for c in cells for m in methods if folder.row(c, m) is None]
    for done, (cell, method, row) in enumerate(_rows(missing, folder.options, jobs), start=1):
        folder.write(cell, method, row)
        said = row.get("failed") or f"{row['seconds']:.0f} s"
        print(f"{done} of {len(missing)}: {cell.name}, {method}: {said}", file=sys.stderr)


def _rows(
    missing: Sequence[tuple[Cell, str]], options: Mapping[str, Any], jobs: int
) -> Iterator[tuple[Cell, str, dict[str, Any]]]:
    if jobs == 1:
        for cell, method in missing:
            yield cell, method, row_of(cell, method, options)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _one_thread) as pool:
        pending = {pool.submit(row_of, c, m, options): (c, m) for c, m in missing}
        for future in as_completed(pending):
            yield *pending[future], future.result()


def _one_thread() -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
