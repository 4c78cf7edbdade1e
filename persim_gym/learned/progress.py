"""The progress bar of a fit: candidates or epochs, with the held-out error."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from persim_gym.learned.callbacks import FitCallback
from persim_gym.learned.closed_form.search import Trial
from persim_gym.learned.networks.optimise import FitProgress


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a fit calls while it works.

    Attributes:
        on_epoch: After each epoch of a fit of networks.
        on_trial: After each candidate of a fit in closed form.
    """

    on_epoch: Callable[[FitProgress], None] = lambda _: None
    on_trial: Callable[[Trial], None] = lambda _: None


@contextlib.contextmanager
def reporter(
    show: bool | None,
    on_epoch: Callable[[FitProgress], None] | None,
    callbacks: Sequence[FitCallback] = (),
) -> Iterator[FitReport]:
    """What a fit calls: a bar (by default on a terminal) and the caller's own."""

    def after_epoch(now: FitProgress) -> None:
        if on_epoch is not None:
            on_epoch(now)
        for callback in callbacks:
            callback.on_epoch(now)

    def after_trial(now: Trial) -> None:
        for callback in callbacks:
            callback.on_trial(now)

    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield FitReport(after_epoch, after_trial)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("fit"),
        BarColumn(),
        TextColumn("{task.fields[what]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=None, what="")
        known: list[str] = []

        def trial(now: Trial) -> None:
            what = f"degree {now.degree}, rank {now.rank}: held-out error {now.error:.2g}"
            bar.update(task, total=None, what=what)
            after_trial(now)

        def epoch(now: FitProgress) -> None:
            loss = sum(now.loss) / len(now.loss)
            what = f"epoch {now.epoch}/{now.epochs}: loss {loss:.3g}"
            if not math.isnan(now.heldout_rmse):
                known.append(f", held-out RMSE {now.heldout_rmse:.3g}")
            what += known[-1] if known else ""
            bar.update(task, total=now.epochs, completed=now.epoch, what=what)
            after_epoch(now)

        yield FitReport(epoch, trial)
