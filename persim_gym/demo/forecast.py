"""How long a demo will still take on this machine: a table, corrected by the run itself."""

from __future__ import annotations

import time

#: Seconds of each stage on two idle cores of a laptop's kind; only the proportions matter later on.
SECONDS = {
    "cartpole": {
        "record": 1.5, "fit": 12.0, "evaluate": 0.5, "plan": 16.0, "train": 30.0, "report": 8.0,
    },
    "mountain-car": {
        "record": 5.0, "fit": 16.0, "evaluate": 1.0, "plan": 30.0, "train": 80.0, "report": 9.0,
    },
    "half-cheetah": {
        "record": 40.0, "fit": 1200.0, "evaluate": 30.0, "plan": 120.0, "train": 150.0,
        "report": 30.0,
    },
}  # fmt: skip
#: The same of a quick demo, as a share.
QUICK = {"cartpole": 0.4, "mountain-car": 0.4, "half-cheetah": 0.06}
#: Seconds of :func:`pace`'s work on such a machine.
_PACE = 0.035


def pace() -> float:
    """How much slower than the table's machine this one is now, by a tenth of a second of work.

    A busy machine is slow, too: what counts is the clock.
    """
    began = time.perf_counter()
    for _ in range(120):
        sum(range(20_000))
    return min(max((time.perf_counter() - began) / _PACE, 0.2), 10.0)


class Forecast:
    """What is left of a demo.

    Args:
        task: Name of the task.
        quick: Whether the demo is a quick one.
        slower: By which factor the machine is slower than the table's, as :func:`pace` says.
    """

    def __init__(self, task: str, quick: bool, slower: float = 1.0) -> None:
        share = QUICK[task] if quick else 1.0
        self._open = {stage: seconds * share for stage, seconds in SECONDS[task].items()}
        # The first guess counts as much as five seconds of the table that were seen.
        self._took, self._expected = 5.0 * slower, 5.0

    def end(self, stage: str, seconds: float | None) -> None:
        """Take in that a stage is over, and what it took; ``None`` if it was kept."""
        expected = self._open.pop(stage)
        if seconds is not None:
            self._took += seconds
            self._expected += expected

    def left(self, stage: str | None = None, share: float = 0.0, spent: float = 0.0) -> float:
        """Seconds until the end.

        Args:
            stage: The present stage, if one has begun.
            share: How much of it is done, 0 to 1.
            spent: Seconds that this took.
        """
        expected = {**self._open}
        now = expected.pop(stage, 0.0) if stage else 0.0
        took, known = self._took + spent, self._expected + share * now
        slower = took / known if share > 0 else self._took / self._expected
        rest = now * slower * (1 - share)
        if share > 0:  # the stage's own pace, the more of it is done
            rest = (1 - share) * rest + share * spent * (1 - share) / share
        elif stage:
            rest = max(rest - spent, 0.1 * rest)
        return rest + slower * sum(expected.values())
