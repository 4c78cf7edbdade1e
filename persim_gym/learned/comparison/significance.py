"""Whether one of two ways to predict is significantly better, on records that are short."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import FINE, Errors, Part, Predictor, Record


def errors_of_earlier_end(
    fit: Callable[[NDArray[np.int64]], Predictor],
    early: Part | None,
    record: Record,
    steps: Sequence[int],
) -> list[Errors]:
    """What predictions of an earlier end leave; nothing if too little is before it to be fitted.

    Args:
        fit: Rows of the record to a predictor.
        early: The end.
        record: The data.
        steps: Steps ahead.
    """
    if early is None:
        return []
    try:
        return [Errors.of(fit(early.rows), early, record, steps)]
    except (ValueError, FloatingPointError):
        return []


def significantly_less(errors: Sequence[Errors], others: Sequence[Errors]) -> bool:
    """Whether errors are significantly less than others: by a standard error, and in every part.

    Agents are compared with themselves. What they share at one time is no surprise of each, so that
    their number says nothing of it: the parts do.

    Args:
        errors: Of each part.
        others: Of the same parts.
    """
    if len(errors) < len(others):
        return False  # it cannot even be fitted to as little as the other can
    both = len(others)
    each = [_gains(*pair) for pair in zip(errors[:both], others, strict=True)]
    gained = _gains(Errors.joined(errors[:both]), Errors.joined(others))
    if len(gained) < 2 or not all(part.mean() > 0 for part in each if len(part)):
        return False
    return bool(gained.mean() > gained.std(ddof=1) / len(gained) ** 0.5)


def is_behind(errors: Sequence[Errors], others: Sequence[Errors], much: float) -> bool:
    """Whether errors can no longer be surely less, for the last part says no, nor much less.

    Args:
        errors: Of the first parts.
        others: Of all parts.
        much: Logarithm by which they are then much less.
    """
    last, joined = len(errors) - 1, Errors.joined(others[: len(errors)])
    if _gains(errors[last], others[last]).mean() > 0:
        return False
    return bool(_gains(Errors.joined(errors), joined).mean() <= much)


def _gains(errors: Errors, others: Errors) -> NDArray[np.float64]:
    """By which logarithm each agent's error is less than by others, mean over horizons ``[n]``."""
    columns = range(errors.left.shape[1])
    less = [
        np.log(np.maximum(others.of_agents(c), FINE) / np.maximum(errors.of_agents(c), FINE))
        for c in columns
    ]
    known = np.isfinite(less)
    total = np.where(known, less, 0.0).sum(0)
    return np.asarray((total / np.maximum(known.sum(0), 1))[known.any(0)])
