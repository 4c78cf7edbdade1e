"""Runs cells: those alone whose rows are missing, side by side, one row on disk after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from persim_gym.benchmark.files import write_bytes
from persim_gym.benchmark.paper.cell import Cell
from persim_gym.benchmark.paper.data import missing_recordings
from persim_gym.benchmark.paper.experiments import run_cell
from persim_gym.benchmark.paper.rows import Row, Rows


@dataclass(frozen=True, slots=True)
class Done:
    """A cell that was run.

    Attributes:
        cell: The cell.
        row: What came of it; ``None`` if it failed.
        error: What went wrong, in one line; ``""`` if nothing did.
    """

    cell: Cell
    row: Row | None
    error: str = ""


def run_cells(
    cells: Sequence[Cell],
    folder: str | Path,
    *,
    device: str = "cpu",
    on_done: Callable[[Done], None] | None = None,
) -> list[Done]:
    """Run the cells whose rows are missing.

    Args:
        cells: The cells.
        folder: The benchmark's folder.
        device: Where to compute.
        on_done: Told of each cell.
    """
    rows = Rows(folder)
    missing = [cell for cell in cells if not rows.has(cell)]
    for recording in missing_recordings(missing):
        recording.run(progress=False)
    results = []
    for cell in missing:
        try:
            row = run_cell(cell, folder, device)
        except Exception as error:  # the others must go on
            path = Path(folder) / "failed" / f"{cell.key}.txt"
            write_bytes(path, traceback.format_exc().encode())
            done = Done(cell, None, f"{type(error).__name__}: {error}")
        else:
            rows.write(row)
            done = Done(cell, row)
        results.append(done)
        if on_done is not None:
            on_done(done)
    return results
