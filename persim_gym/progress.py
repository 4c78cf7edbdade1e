"""How far long work is: what is called on the way, and the bar on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

#: Called with how much is done, and of how much.
OnProgress = Callable[[int, int], None]

#: Units of time, and how many seconds they are.
_UNITS = (("week", 604_800), ("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_DAY = 86_400


class Report(Protocol):
    """What long work calls."""

    def __call__(self, done: int, total: int, title: str = ...) -> None:
        """Say how much is done, of how much, and what the bar is called from now on."""


# -- times in words --------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """How long work takes: ``"4.1 s"``, ``"23 min"``, ``"3.5 h"``, ``"2.5 days"``."""
    if seconds < 0.05:
        return "0 s"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 99.5:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} days"


def span(seconds: float) -> str:
    """A time between dates in its largest unit: ``"1 week"``, ``"36 h"``, ``"5 min"``."""
    for unit, size in _UNITS:
        count = seconds / size
        # An hour and a half is clearer as 90 minutes.
        if 1 <= count < 1000 and count == int(count):
            return f"{count:g} {unit}{'s' * (unit in ('week', 'day') and count != 1)}"
    unit, size = next(((u, s) for u, s in _UNITS if seconds >= s), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def time_left(
    done: float,
    total: float | None,
    spent: float,
    *,
    then: float | None = None,
    at_most: bool = False,
) -> str:
    """What a bar says of time: what is left where the end is known, else what was spent.

    Args:
        done: How much is done.
        total: Of how much; ``None`` where it is not known.
        spent: Seconds so far.
        then: Seconds after which so much was done, if it was before.
        at_most: Whether the work may well end before all is done.
    """
    if not total or done <= 0:
        return f"for {duration(spent)}" if spent >= 1 else ""
    if done >= total:
        return f"in {duration(spent)}"
    then = spent if then is None else then
    rest = then * (total - done) / done - (spent - then)
    # Late: what is left is not known, but not nothing.
    return f"{'at most' if at_most and rest >= 1 else 'about'} {duration(max(rest, 1.0))} left"


# -- bars ------------------------------------------------------------------------------------------


def progress_bar(*, share: bool = True, transient: bool = False, disable: bool = False) -> Progress:
    """A bar on standard error: what is done, how much of it, what there is to say, time left.

    Tasks of the bar may have a field ``what`` with more to say, and ``at_most`` where the work may
    well end before all is done.

    Args:
        share: Show percent, too.
        transient: Leave nothing behind.
        disable: Show nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn
    from rich.table import Column
    from rich.text import Text

    class What(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields.get("what", ""))

    class Left(ProgressColumn):
        max_refresh = 0.5

        def __init__(self) -> None:
            super().__init__(Column(no_wrap=True, min_width=18))
            self._seen: dict[int, tuple[float, float]] = {}

        def render(self, task: Task) -> Text:
            spent = task.elapsed or 0.0
            done, then = self._seen.get(task.id, (-1.0, 0.0))
            if done != task.completed:
                then = spent
                self._seen[task.id] = task.completed, spent
            at_most = bool(task.fields.get("at_most"))
            return Text(time_left(task.completed, task.total, spent, then=then, at_most=at_most))

    class Title(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.description)

    columns = [
        Title(Column(no_wrap=True)),
        BarColumn(bar_width=20 if share else 10),
        *([TaskProgressColumn()] if share else []),
        What(Column(no_wrap=True, overflow="ellipsis")),
        Left(),
    ]
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=transient, disable=disable)


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
    with progress_bar() as bar:
        shown = bar.add_task(title, total=None)

        def report(done: int, total: int, title: str = title) -> None:
            bar.update(shown, completed=done, total=total, description=title)
            quiet(done, total)

        yield report
