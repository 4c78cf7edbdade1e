"""Rows of results on disk: one JSON file for each cell that is done, written atomically."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persim_gym import checks
from persim_gym.experiments.cell import Cell
from persim_gym.offline.provenance import version
from persim_gym.writing import read_sealed, write_sealed

FORMAT = 1
LIBRARIES = ("persim-gym", "gymnasium", "minari", "mujoco", "numpy", "torch")
_NAMES = ("format", "cell", "results", "seconds", "versions", "machine", "finished")


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a cell.

    Attributes:
        cell: The cell.
        results: The experiment's results, as plain types.
        seconds: Time by the clock of each stage: ``data``, ``fit``, ``run``.
        versions: Of Python and the libraries.
        machine: ``cores``, ``threads``, ``device`` and ``system``.
        finished: When, as ISO 8601 in UTC.
    """

    cell: Cell
    results: Mapping[str, Any]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    finished: str

    def to_json(self) -> dict[str, Any]:
        """Plain types; :meth:`from_json` takes them."""
        return {
            "format": FORMAT,
            "cell": self.cell.to_json(),
            "results": self.results,
            "seconds": self.seconds,
            "versions": self.versions,
            "machine": self.machine,
            "finished": self.finished,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Row:
        """The row of :meth:`to_json`.

        Raises:
            ValueError: If it is none, or of a format that this version does not know.
        """
        if not isinstance(plain, Mapping) or plain.get("format") != FORMAT:
            raise ValueError(f"no row of results of format {FORMAT}")
        try:
            cell = Cell.from_json(plain["cell"])
            parts = {name: plain[name] for name in ("results", "seconds", "versions", "machine")}
            finished = str(plain["finished"])
        except (AttributeError, KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"no row of results: {error}") from error
        for name, part in parts.items():
            if not isinstance(part, Mapping):
                raise ValueError(f"no row of results: its {name} are {part!r}")
        for name, value in parts["seconds"].items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"no row of results: seconds of {name} are {value!r}")
        return cls(cell, **parts, finished=finished)


class RowFiles:
    """The rows of a benchmark's folder.

    Args:
        folder: The benchmark's folder; rows are in its ``rows``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = checks.as_path("folder", folder) / "rows"

    def path(self, cell: Cell) -> Path:
        """Where a cell's row is, or will be."""
        return self.folder / f"{cell.key}.json"

    def has(self, cell: Cell) -> bool:
        """Whether the row of this very cell is there and whole; of a damaged one it is warned."""
        path = self.path(cell)
        if not path.is_file():
            return False
        try:
            return _read(path).cell == cell
        except (OSError, ValueError) as error:
            said = f"{path} is damaged ({error}): it counts as missing, and is made again"
            warnings.warn(said, UserWarning, stacklevel=2)
            return False

    def write(self, row: Row) -> Path:
        """Write a row; a reader sees all of it or nothing."""
        return write_sealed(self.path(row.cell), row.to_json())

    def delete(self, cell: Cell) -> None:
        """Delete a cell's row, if there is one."""
        self.path(cell).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Row]:
        """All rows, by name.

        Raises:
            ValueError: If a file is no row, with what to do.
        """
        for path in sorted(self.folder.glob("*.json")):
            try:
                yield _read(path)
            except ValueError as error:
                raise ValueError(
                    f"{path} is damaged ({error}): delete it and run the benchmark again, which "
                    "makes what is missing"
                ) from error


def _read(path: Path) -> Row:
    row = Row.from_json(read_sealed(path, _NAMES))
    if row.cell.key != path.stem:
        raise ValueError("its name is not that of the cell in it, which another version has made")
    return row


def versions(*more: str) -> dict[str, str]:
    """Of Python and the libraries that results can depend on, and of some ``more``."""
    names = (*LIBRARIES, *more)
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def machine(device: str, threads: int) -> dict[str, Any]:
    """What a row was made on."""
    return {
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "system": f"{platform.system()} {platform.machine()}",
    }
