"""How far long work is: what is called on the way, and the bar on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

#: Called with how much is done, and of how much.
OnProgress = Callable[[int, int], None]


class Report(Protocol):
    """What long work calls."""

    def __call__(self, done: int, total: int, title: str = ...) -> None:
        """Say how much is done, of how much, and what the bar is called from now on."""


@contextlib.contextmanager
def reporter(title: str, show: bool | None, on_progress: OnProgress | None) -> Iterator[Report]:
    """What to call with done, total and a title: a bar, by default on a terminal, and the caller's.

    Args:
        title: What the bar is called before the first call.
        show: Show a bar; by default where there is a terminal.
        on_progress: The caller's own.
    """

    def quiet(done: int, total: int, title: str = title) -> None:
        if on_progress is not None:
            on_progress(done, total)

    if not (sys.stderr.isatty() if show is None else show):
        yield quiet
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task(title, total=None)

        def report(done: int, total: int, title: str = title) -> None:
            bar.update(shown, completed=done, total=total, description=title)
            quiet(done, total)

        yield report
