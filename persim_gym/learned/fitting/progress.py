"""The progress bar of a fit: what is fitted, candidates or epochs, the error, and time left."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from persim_gym.learned.closed_form.search import Trial
from persim_gym.learned.fitting.callbacks import FitCallback
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.progress import progress_bar


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a fit calls while it works.

    Attributes:
        on_epoch: After each epoch of a fit of networks.
        on_trial: After each candidate of a fit in closed form.
        on_part: When something else is fitted, with its name.
        on_share: With the share of a search's budget that is spent, which ends at 1; most searches
            end before it is.
    """

    on_epoch: Callable[[FitProgress], None] = lambda _: None
    on_trial: Callable[[Trial], None] = lambda _: None
    on_part: Callable[[str], None] = lambda _: None
    on_share: Callable[[float], None] = lambda _: None


class _Bar:
    """A bar that shows what a fit calls."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._title, self._known = bar, "fit", ""
        self._task = bar.add_task("fit", total=None, what="")

    def part(self, name: str) -> None:
        self._title, self._known = name, ""
        self._begin("")

    def _begin(self, what: str) -> None:
        # A total that is not known again takes a new task.
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._title, total=None, what=what)

    def share(self, spent: float) -> None:
        if spent >= 1:
            self._begin("fitting the members")
        else:
            self._bar.update(self._task, total=1.0, completed=spent, at_most=True)

    def trial(self, now: Trial) -> None:
        what = f"degree {now.degree}, rank {now.rank}: held-out error {now.error:.2g}"
        self._bar.update(self._task, what=what)

    def epoch(self, now: FitProgress) -> None:
        what = f"epoch {now.epoch}/{now.epochs}: loss {sum(now.loss) / len(now.loss):.3g}"
        if not math.isnan(now.heldout_rmse):
            self._known = f", held-out RMSE {now.heldout_rmse:.3g}"
        what += self._known
        done = {"total": now.epochs, "completed": now.epoch, "at_most": False}
        self._bar.update(self._task, what=what, **done)


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
    with progress_bar(share=False) as bar:
        shown = _Bar(bar)

        def trial(now: Trial) -> None:
            shown.trial(now)
            after_trial(now)

        def epoch(now: FitProgress) -> None:
            shown.epoch(now)
            after_epoch(now)

        yield FitReport(epoch, trial, shown.part, shown.share)
