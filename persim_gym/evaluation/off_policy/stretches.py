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


def importance_values(
    ratio: Floats,
    rewards: Floats,
    stretches: RecordedStretches,
    group: NDArray[np.int64],
    groups: int,
    discount: float,
) -> tuple[Floats, Floats]:
    """The policy's value in each group of stretches, and the effective number of these ``[g]``.

    Args:
        ratio: Of every transition, the action's probability under the policy by that under the
            behaviour ``[T]``.
        rewards: Theirs ``[T]``.
        stretches: ``n`` of them.
        group: Which group each is of ``[n]``.
        groups: Number of groups.
        discount: Of rewards.

    Returns:
        Values, ``nan`` where no stretch has weight; and the effective number by the weights of the
        last step, the square of their sum by the sum of their squares.
    """
    rows, valid = stretches.rows, stretches.valid
    with np.errstate(divide="ignore"):
        logs = np.where(valid, np.log(ratio[rows]), 0.0).cumsum(1)
    # In units of each group's and step's largest: products of many ratios leave any number's range.
    largest = np.full((groups, stretches.steps), -np.inf)
    np.maximum.at(largest, group, logs)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    weights = np.exp(logs - largest[group])
    earned = np.where(valid, rewards[rows], 0.0) * discount ** np.arange(stretches.steps)
    total, gained, squares = (
        np.stack([np.bincount(group, column, groups) for column in part.T], axis=1)
        for part in (weights, weights * earned, weights**2)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (gained / total).sum(1)
        effective = total[:, -1] ** 2 / squares[:, -1]
    return values, np.nan_to_num(effective)
