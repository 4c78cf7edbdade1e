"""The agents that a shell offers for ``--agent``: those of what the line names.

Files are read as they are, without torch, pandas or Minari: a shell waits for each Tab.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import shlex
import struct
from pathlib import Path
from typing import Any

import typer

from persim_gym.cli import complete

#: Most agents that are offered, and most rows of a table that are read for them.
MOST, ROWS = 200, 100_000
#: Arguments and options that name what has the agents, the nearest first.
_NAMED = ("data", "dataset", "target", "simulator", "model")


class _Word(str):
    """A word in quotes: Typer drops those that do not begin as what was typed."""

    __slots__ = ()

    def startswith(self, *_: Any) -> bool:
        """It does, without its quotes."""
        return True


def agents(ctx: typer.Context, incomplete: str) -> list[str]:
    """Agents by name, or by index where they have none, that begin as what was typed."""
    before, comma, start = incomplete.rpartition(",")
    places = [str(ctx.params[name]) for name in _NAMED if ctx.params.get(name)]
    found = next(filter(None, (_known(place, ctx.params) for place in places)), [])
    fitting = (name for name in found if name.startswith(start))
    return [_word(before + comma + name) for name in itertools.islice(fitting, MOST)]


def _known(place: str, given: dict[str, Any]) -> list[str]:
    """The agents of a simulator, a table or a data set; none where they can not be read."""
    path = Path(place).expanduser()
    try:
        if path.is_dir() and (path / complete.SIMULATOR).is_file():
            return _of_simulator(path / complete.SIMULATOR)
        column = str(given.get("agent_column"))
        if path.suffix in (".csv", ".tsv"):
            return _of_table(path, column)
        if path.suffix == ".parquet":
            return _of_parquet(path, column)
        return _of_data_set(complete.data_sets_folder() / place / "data" / "metadata.json")
    except Exception:  # whatever a file holds, nothing but words may come to the shell's line
        return []


def _of_simulator(file: Path) -> list[str]:
    """Agents by the card in the head of a safetensors file."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        head = json.loads(stream.read(size))
    card: dict[str, Any] = json.loads(next(iter(head["__metadata__"].values())))
    names = card.get("agent_names")
    if not names:
        count = int(card["dataset"]["agents"]) + len(card.get("adapted", {}))
        return [str(index) for index in range(count)]
    return [_unmistakable(name, index, len(names)) for index, name in enumerate(names)]


def _unmistakable(name: str, index: int, count: int) -> str:
    """A name as ``--agent`` takes it: a number that could be another agent's index says so."""
    other = name.isdecimal() and int(name) < count and int(name) != index
    return f"name:{name}" if other else name


def _of_table(path: Path, column: str) -> list[str]:
    with path.open(newline="", encoding="utf-8") as stream:
        line = stream.readline()
        headers = {sign: next(csv.reader([line], delimiter=sign)) for sign in ",;\t|"}
        sign = next(sign for sign, header in headers.items() if column in header or sign == "|")
        place = headers[sign].index(column)
        rows = itertools.islice(csv.reader(stream, delimiter=sign), ROWS)
        return list(dict.fromkeys(row[place] for row in rows if row))


def _of_parquet(path: Path, column: str) -> list[str]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        return []
    rows = next(pq.ParquetFile(path).iter_batches(ROWS, columns=[column]), {column: None})[column]
    return [] if rows is None else [str(agent) for agent in rows.unique().to_pylist()]


def _of_data_set(file: Path) -> list[str]:
    """Agents that ``persim-gym record`` has written down, such as ``"0-4"``."""
    card = json.loads(file.read_text())["persim_gym"]
    spans = [part.partition("-") for part in str(card["agents"]).split(",")]
    found = (range(int(first), int(last or first) + 1) for first, _, last in spans)
    return [str(index) for index in itertools.islice(itertools.chain.from_iterable(found), ROWS)]


def _word(text: str) -> str:
    """A word as a shell puts it on the line: bash takes it as it comes, others quote it."""
    is_bash = os.environ.get("_PERSIM_GYM_COMPLETE", "").endswith("bash")
    return _Word(shlex.quote(text)) if is_bash else text
