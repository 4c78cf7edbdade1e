"""What commands print: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from persim_gym import progress
from persim_gym.cli.group import fitting, visible
from persim_gym.progress import duration
from persim_gym.writing import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1
) -> None:
    """Print a table; the first ``left`` columns are text, the others numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # With the divider two spaces between columns: nine columns of numbers fit 80 characters.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(visible(name), justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    # Titles and cells are plain text: a name in brackets is no markup.
    console = Console(markup=False, highlight=False)
    console.print(visible(title), style="bold", soft_wrap=True)
    console.print(table, "")


def print_facts(title: str, facts: Sequence[tuple[str, object]]) -> None:
    """Print names and what they are, one a line."""
    typer.secho(visible(title), bold=True)
    width = max(len(visible(name)) for name, _ in facts)
    for name, value in facts:
        head = typer.style(f"  {visible(name):<{width}}", dim=True)
        text = cell(value)
        if ", " in text:  # a list; what is copied, such as a path or a command, stays whole
            text = fitting(text, sys.stdout, width + 4, indent=width + 4)
        typer.echo(f"{head}  {text}")


def print_line(line: str) -> None:
    """A sentence on stdout; a terminal gets it as lines that fit."""
    typer.echo(fitting(visible(line), sys.stdout))


def cell(value: object) -> str:
    """A value as it stands in a table: three or four significant digits, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        if 9999.5 <= abs(value) < 1e7 or math.isinf(value):
            return f"{value:,.0f}" if math.isfinite(value) else str(value)
        return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return visible(str(value))


def statistics(returns: NDArray[Any]) -> list[object]:
    """Number, mean, standard deviation, least and most: what a table says of episodes."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else None
    return [
        len(returns),
        float(returns.mean()),
        deviation,
        float(returns.min()),
        float(returns.max()),
    ]


def print_json(value: Any) -> None:
    """Print plain types as JSON; what is not a number becomes null."""
    # A console that has not all characters gets escapes, which are JSON all the same.
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(finite(value), indent=2, ensure_ascii=plain)
    # JSON has escapes of its own for what would steer a terminal; lines are the printer's.
    typer.echo(re.sub(r"[^\n -~]", lambda c: c[0] if c[0].isprintable() else _escape(c[0]), text))


def _escape(letter: str) -> str:
    return json.dumps(letter)[1:-1]


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal: call it with what is done, and of how much."""
    with progress.progress_bar(transient=True, disable=not sys.stderr.isatty()) as bar:
        shown = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


__all__ = [
    "cell",
    "duration",
    "print_facts",
    "print_json",
    "print_line",
    "print_table",
    "progress_bar",
    "statistics",
]
