"""Numbers of long work on their way: as lines of JSON, or as TensorBoard's events."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from persim_gym import checks

__all__ = ["JSON_LINES", "LOGS", "JsonLines", "MetricsWriter", "TensorBoard", "open_metrics"]

#: Kinds of logs.
LOGS = ("json", "tensorboard")

JSON_LINES = "metrics.jsonl"


class MetricsWriter(Protocol):
    """Where numbers go."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by name, of a step; those that are not finite are left out."""

    def close(self) -> None:
        """No more numbers come."""


def open_metrics(kind: str, folder: str | Path) -> MetricsWriter:
    """A log in a folder, which is made.

    A log that is there already is gone on with.

    Args:
        kind: ``"json"`` (lines in ``metrics.jsonl``) or ``"tensorboard"``.
        folder: Where.

    Raises:
        TypeError: If ``folder`` is no path.
        ValueError: If there is no such kind, or the folder cannot be written into.
        ImportError: If TensorBoard is asked for and absent.
    """
    checks.one_of("log", kind, LOGS)
    place = checks.output_folder("folder", folder)
    if kind == "tensorboard":
        return TensorBoard(place)
    return JsonLines(place / JSON_LINES)


class JsonLines:
    """One JSON object a line: ``step``, ``seconds`` since it was opened, and the numbers.

    Args:
        path: The file, which lines are added to.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._began = time.monotonic()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line."""
        row: dict[str, Any] = {"step": step, "seconds": round(time.monotonic() - self._began, 3)}
        row |= {name: value for name, value in values.items() if math.isfinite(value)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Nothing: each line is written when it comes."""


class TensorBoard:
    """Events that TensorBoard shows.

    Raises:
        ImportError: If TensorBoard is absent.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard is not installed: pip install 'persim-gym[tensorboard]', or log as "
                "JSON lines (log='json')",
                name="tensorboard",
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
