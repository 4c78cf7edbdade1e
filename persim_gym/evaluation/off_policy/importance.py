"""Importance sampling: recorded stretches, weighted by how likely the policy would have made them.

Per decision, so that a reward is weighted by the actions before it alone, and weighted: the weights
of a step sum to one. It needs no model at all, but the behaviour's probabilities, and stretches in
which the behaviour did by chance what the policy does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.off_policy.stretches import RecordedStretches

Floats = NDArray[np.float64]


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
