"""Whether one of two ways to predict is surely better, on records that are short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.stretches import FINE, Errors, Predictor, Record, earlier_end


class Ends:
    """Errors on the parts that were held out, and on an earlier end, which is fitted if asked for.

    Args:
        record: The data.
        fit: Of a candidate, by name, to rows of the record.
        errors: Of each part, by candidate.
        steps: Steps ahead.
        seed: Chooses agents.
    """

    def __init__(
        self,
        record: Record,
        fit: Callable[[str, NDArray[np.int64]], Predictor],
        errors: Mapping[str, list[Errors]],
        steps: Sequence[int],
        seed: int,
    ) -> None:
        self._record, self._fit, self._steps = record, fit, steps
        self._errors, self._seed = errors, seed
        self._early: dict[str, Errors | None] = {}

    def surely(self, weights: Mapping[str, float], other: str) -> bool:
        """Whether a mixture's errors are less by a standard error, and in every part.

        Agents are compared with themselves. What they share at one time is no surprise of each, so
        that their number says nothing of it: the parts do.
        """
        others = [*self._errors[other]]
        errors = [_mean(weights, k, self._errors) for k in range(len(others))]
        last = self._of_early(other)
        if last is not None:
            early = {name: self._of_early(name) for name in weights}
            known = {name: [own] for name, own in early.items() if own is not None}
            if len(known) < len(early):
                return False  # it cannot even be fitted to as little as the other can
            errors, others = [*errors, _mean(weights, 0, known)], [*others, last]
        each = [_gained(*pair) for pair in zip(errors, others, strict=True)]
        gained = _gained(Errors.joined(errors), Errors.joined(others))
        if len(gained) < 2 or not all(part.mean() > 0 for part in each if len(part)):
            return False
        return bool(gained.mean() > gained.std(ddof=1) / len(gained) ** 0.5)

    def _of_early(self, name: str) -> Errors | None:
        """Of an earlier end; none if there is none, or too little is before it to be fitted."""
        if name not in self._early:
            self._early[name] = self._predicted(name)
        return self._early[name]

    def _predicted(self, name: str) -> Errors | None:
        part = earlier_end(self._record, np.random.default_rng([self._seed, 7]))
        if part is None:
            return None
        try:
            predictor = self._fit(name, part.rows)
        except (ValueError, FloatingPointError):
            return None
        return Errors.of(predictor, part, self._record, self._steps)


def _mean(weights: Mapping[str, float], part: int, errors: Mapping[str, list[Errors]]) -> Errors:
    """Errors of a mixture on a part."""
    one = errors[next(iter(weights))][part]
    left = sum(weight * errors[name][part].left for name, weight in weights.items())
    return Errors(np.asarray(left), one.valid, one.agent)


def _gained(errors: Errors, others: Errors) -> NDArray[np.float64]:
    """By which logarithm each agent's error is less than by others, mean over horizons ``[n]``."""
    columns = range(errors.left.shape[1])
    less = [
        np.log(np.maximum(others.of_agents(c), FINE) / np.maximum(errors.of_agents(c), FINE))
        for c in columns
    ]
    known = np.isfinite(less)
    total = np.where(known, less, 0.0).sum(0)
    return np.asarray((total / np.maximum(known.sum(0), 1))[known.any(0)])
