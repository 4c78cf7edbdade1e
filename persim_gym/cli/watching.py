"""Progress of a benchmark on stderr: bars on a terminal, else a line for each cell that is done."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from persim_gym.cli.output import duration
from persim_gym.experiments.runner import Watch

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from persim_gym.experiments.cell import Cell
    from persim_gym.experiments.engines import Done


@contextlib.contextmanager
def watching(on_begin: Callable[[], None]) -> Iterator[Watch]:
    """What a run reports to, and what shows it.

    Args:
        on_begin: Called when all is checked, before the first work.
    """
    if not sys.stderr.isatty():
        yield LineWatch(on_begin)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield BarWatch(on_begin, bars)


class LineWatch(Watch):
    """A plain line for each cell that has ended, and for each data set that is recorded."""

    def __init__(self, on_begin: Callable[[], None]) -> None:
        self._on_begin = on_begin
        self._all = self._ended = 0

    def begins(self, missing: Sequence[Cell], known: int, seconds: float) -> None:
        """See :class:`Watch`."""
        self._on_begin()
        self._ended, self._all = known, known + len(missing)
        there = f", {known} are there" if known else ""
        if missing:
            self._say(f"{len(missing)} cells to run{there}: about {duration(seconds)}")

    def recording(self, dataset_id: str, done: int, of: int) -> None:
        """See :class:`Watch`."""
        if done == 0:
            self._say(f"recording {dataset_id}")

    def ended(self, done: Done, seconds: float, left: float) -> None:
        """See :class:`Watch`."""
        self._ended += 1
        width = len(str(self._all))
        head = f"[{self._ended:{width}}/{self._all}] {done.cell.describe()}"
        how = f"  FAILED: {done.error}" if done.row is None else ""
        rest = f"  (about {duration(left)} left)" if left else ""
        self._say(f"{head}  {duration(seconds)}{how}{rest}")

    def _say(self, line: str) -> None:
        typer.echo(line, err=True)


class BarWatch(LineWatch):
    """A bar for the whole, and one for each cell that runs."""

    def __init__(self, on_begin: Callable[[], None], bars: Progress) -> None:
        super().__init__(on_begin)
        self._bars = bars
        self._whole = bars.add_task("benchmark", total=None, note="")
        self._own: dict[object, TaskID] = {}

    def begins(self, missing: Sequence[Cell], known: int, seconds: float) -> None:
        """See :class:`Watch`."""
        super().begins(missing, known, seconds)
        self._bars.update(self._whole, total=self._all, completed=known)
        self._note(seconds)

    def recording(self, dataset_id: str, done: int, of: int) -> None:
        """See :class:`Watch`."""
        self._show(dataset_id, f"record {dataset_id}", "", done, of)
        if done == of:
            self._bars.remove_task(self._own.pop(dataset_id))

    def started(self, cell: Cell) -> None:
        """See :class:`Watch`."""
        self._show(cell, cell.describe(), "", 0, 1)

    def stage(self, cell: Cell, stage: str, done: int, of: int) -> None:
        """See :class:`Watch`."""
        self._show(cell, cell.describe(), stage, done, of)

    def ended(self, done: Done, seconds: float, left: float) -> None:
        """See :class:`Watch`."""
        self._bars.remove_task(self._own.pop(done.cell))
        self._ended += 1
        self._bars.update(self._whole, completed=self._ended)
        self._note(left)
        if done.row is None:
            self._say(f"failed: {done.cell.describe()}: {done.error}")

    def _note(self, left: float) -> None:
        cells = f"{self._ended}/{self._all} cells"
        self._bars.update(self._whole, note=f"{cells}, about {duration(left)} left")

    def _show(self, what: object, title: str, note: str, done: int, of: int) -> None:
        # What tells only that it has begun has a bar that moves by itself.
        total = None if (done, of) == (0, 1) else of
        if what not in self._own:
            self._own[what] = self._bars.add_task(title, total=total, note=note)
        self._bars.update(self._own[what], total=total, completed=done, note=note)

    def _say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)
