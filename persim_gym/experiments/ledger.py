"""What a benchmark's folder is meant to hold: the runs that were asked for, and their cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from persim_gym.experiments.cell import Cell
from persim_gym.writing import write_json

FILE = "benchmark.json"
FORMAT = 1


def read_ledger(folder: str | Path) -> dict[str, Any]:
    """The ledger of a folder; an empty one if there is none.

    Returns:
        ``"format"``; ``"runs"``: for each command that was given ``command``, ``preset``,
        ``device``, ``jobs``, ``engine``, ``started`` and ``ended`` (ISO 8601 in UTC; ``ended`` is
        ``None`` for a run that was stopped), ``seconds``, ``done`` and ``failed`` (numbers of
        cells); ``"cells"``: every cell that any of them was to run, as plain types, by key.

    Raises:
        ValueError: If the file is no ledger.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {"format": FORMAT, "runs": [], "cells": {}}
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, its rows stay") from error
    sound = isinstance(plain, Mapping) and plain.get("format") == FORMAT
    sound = sound and isinstance(plain.get("runs"), list)
    sound = sound and all(isinstance(run, dict) for run in plain["runs"])
    if not (sound and isinstance(plain.get("cells"), Mapping)):
        raise ValueError(f"{path} is no list of runs of format {FORMAT}: choose another folder")
    return dict(plain)


def wanted_cells(folder: str | Path) -> list[Cell]:
    """All cells that a folder was to hold, in the order in which they were first asked for.

    Cells of another version, which this one does not know, are left out.

    Raises:
        ValueError: If the folder's list cannot be read.
    """
    cells = []
    for key, plain in read_ledger(folder)["cells"].items():
        try:
            cell = Cell.from_json(plain)
        except (AttributeError, OverflowError, TypeError, ValueError):
            continue
        if cell.key == key:
            cells.append(cell)
    return cells


def note_start(folder: str | Path, cells: Sequence[Cell], **about: Any) -> int:
    """Write down that a run begins.

    Args:
        folder: The benchmark's folder.
        cells: What it is to run, rows that are there already among them.
        about: ``command``, ``preset``, ``device``, ``jobs``, ``engine``.

    Returns:
        The run's number, for :func:`note_end`.

    Raises:
        ValueError: If the folder's list cannot be read.
    """
    ledger = read_ledger(folder)
    ledger["cells"] = {**ledger["cells"], **{cell.key: cell.to_json() for cell in cells}}
    ledger["runs"].append({**about, "started": _now(), "ended": None})
    write_json(Path(folder) / FILE, ledger)
    return len(ledger["runs"]) - 1


def note_end(folder: str | Path, run: int, **about: Any) -> None:
    """Write down how a run has ended: ``seconds``, ``done``, ``failed``.

    Nothing is written if the list was deleted since the run began.
    """
    ledger = read_ledger(folder)
    if run >= len(ledger["runs"]):
        return
    ledger["runs"][run] |= {**about, "ended": _now()}
    write_json(Path(folder) / FILE, ledger)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
