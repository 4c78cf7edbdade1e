"""The progress bar of a fit: epochs, losses and the held-out error as soon as it is known."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator

from persim_gym.learned.fitting import FitProgress


@contextlib.contextmanager
def reporter(
    show: bool | None, on_epoch: Callable[[FitProgress], None] | None
) -> Iterator[Callable[[FitProgress], None]]:
    """What to call after each epoch: a bar (by default on a terminal) and the caller's own."""
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield on_epoch or (lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("fit"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.3g}  held-out RMSE {task.fields[error]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=None, loss=math.nan, error="-")

        def report(now: FitProgress) -> None:
            loss = sum(now.loss) / len(now.loss)
            bar.update(task, total=now.epochs, completed=now.epoch, loss=loss)
            if not math.isnan(now.heldout_rmse):
                bar.update(task, error=f"{now.heldout_rmse:.3g}")
            if on_epoch is not None:
                on_epoch(now)

        yield report
