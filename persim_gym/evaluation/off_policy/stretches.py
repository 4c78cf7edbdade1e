"""Recorded stretches of one length: where a policy's value is asked for, and what was earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Numbers of steps of which the first is taken that leaves most agents two stretches.
LENGTHS = (50, 20, 10, 5, 2, 1)


@dataclass(frozen=True, slots=True)
class RecordedStretches:
    """``n`` stretches of ``h`` steps, one after the other in each episode.

    Attributes:
        start: Their first rows ``[n]``.
        length: Steps that were recorded ``[n]``: fewer than ``h`` where the episode terminated.
        steps: ``h``.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    steps: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of each step ``[n, h]``; after the end its last one."""
        return self.start[:, None] + np.minimum(np.arange(self.steps), self.length[:, None] - 1)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which steps there were ``[n, h]``."""
        return np.asarray(np.arange(self.steps) < self.length[:, None])

    def returns(self, rewards: Floats, discount: float) -> Floats:
        """Sums of recorded rewards ``[n]``."""
        earned = np.where(self.valid, rewards[self.rows], 0.0)
        return np.asarray(earned @ discount ** np.arange(self.steps))


def recorded_stretches(data: Transitions, steps: int) -> RecordedStretches:
    """Cut every episode into stretches; what is left at its end is none, unless it terminated."""
    begins = np.flatnonzero(np.append(True, np.diff(data.episode) != 0))
    ends = np.append(begins[1:], len(data))
    length = ends - begins
    pieces = -(-length // steps)
    first = np.repeat(begins, pieces)
    number = np.arange(len(first)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = first + number * steps
    left = np.minimum(np.repeat(ends, pieces) - start, steps)
    whole = (left == steps) | data.terminated[start + left - 1]
    return RecordedStretches(start[whole], left[whole], steps)


def sensible_length(data: Transitions) -> int:
    """The longest of :data:`LENGTHS` of which most agents have two stretches, or one at least."""
    there = len(np.unique(data.agent))
    for least in (2, 1):
        for steps in LENGTHS:
            found = recorded_stretches(data, steps)
            count = np.bincount(data.agent[found.start], minlength=data.num_agents)
            if 2 * (count >= least).sum() > there:
                return steps
    return 1
