"""A convex mixture of close candidates, where agents that had no say in its weights gain by it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import FINE, Errors
from persim_gym.learned.comparison.score import ESCAPES, FURTHER, Score, score_of

#: Candidates whose error is within this factor of the best's may take part in a mixture, and the
#: logarithm of the error that one must gain.
CLOSE, GAIN = 2.0, 0.03
#: Weight in a mixture up to which a candidate is left out: fitting it costs as much as any.
SMALL = 0.1


def mixture_of(
    errors: Mapping[str, Errors],
    scores: dict[str, Score],
    winner: str,
    steps: Sequence[int],
    polynomials: Collection[str],
) -> dict[str, float]:
    """Weights of a convex mixture, or of the winner alone where that is as good.

    Beyond the record, polynomials go on and networks do not. The record does not judge that: they
    are mixed with each other only where this gains much on it.

    Args:
        errors: What candidates left over.
        scores: What they are worth; the mixture's is added where one was tried.
        winner: The best of them.
        steps: Steps ahead.
        polynomials: Those that are polynomials.
    """
    alike = {n: own for n, own in errors.items() if (n in polynomials) == (winner in polynomials)}
    if len(alike) < len(errors):
        together = _mixed(errors, scores, winner, steps)
        mixed = scores.pop("mixture", None)
        least = min(scores[name].overall for name in errors)
        if mixed is not None and mixed.overall <= least - FURTHER:
            scores["mixture"] = mixed
            return together
    return _mixed(alike, scores, winner, steps)


def _mixed(
    errors: Mapping[str, Errors], scores: dict[str, Score], winner: str, steps: Sequence[int]
) -> dict[str, float]:
    """The same of all candidates alike."""
    most = scores[winner].overall + math.log(CLOSE)
    safe = scores[winner].escapes <= ESCAPES
    close = [
        name
        for name in errors
        if scores[name].overall <= most and (not safe or scores[name].escapes <= ESCAPES)
    ]
    if len(close) < 2:
        return {winner: 1.0}
    group = errors[winner].agent % 2
    if len(np.unique(group)) < 2:
        return {winner: 1.0}
    # Weights from the one half of the agents are judged by the other half.
    crossed = np.zeros_like(errors[winner].left)
    for half in (0, 1):
        weights = _stacked([errors[name] for name in close], group == half, steps)
        mixture = sum(w * errors[n].left for w, n in zip(weights, close, strict=True))
        crossed[group != half] = np.asarray(mixture)[group != half]
    judged = Errors(crossed, errors[winner].valid, errors[winner].agent)
    seconds = sum(scores[name].seconds for name in close)
    away = max(scores[name].escapes for name in close)
    weights = _stacked([errors[name] for name in close], group >= 0, steps)
    kept = {name: float(w) for name, w in zip(close, weights, strict=True) if w > SMALL}
    mixture = score_of(judged, steps, away, seconds)
    # Where other agents were, it is as doubtful as its most doubtful part.
    scores["mixture"] = replace(mixture, doubt=max(scores[name].doubt for name in kept))
    if scores["mixture"].overall > scores[winner].overall - GAIN:
        return {winner: 1.0}
    total = sum(kept.values())
    return {name: weight / total for name, weight in kept.items()}


def _stacked(
    errors: Sequence[Errors], rows: NDArray[np.bool_], steps: Sequence[int]
) -> NDArray[np.float64]:
    """Weights, none negative and one together, that make the squared error least.

    Every agent and horizon counts in units of what its best candidate leaves: the least squares of
    plain errors would be those of the few worst agents.
    """
    gram = np.zeros((len(errors), len(errors)))
    for column in range(len(steps)):
        # Agents with too short a record have no error, and no valid rows.
        least = np.fmin.reduce([own.of_agents(column) for own in errors])
        valid = rows & errors[0].valid[:, column]
        unit = np.maximum(least[errors[0].agent[valid]], FINE)[:, None]
        left = np.stack([own.left[valid, column] / unit for own in errors])
        left = np.clip(left, -10.0, 10.0).reshape(len(errors), -1)
        if left.shape[1]:
            gram += left @ left.T / left.shape[1]
    return simplex_least_squares(gram)


def simplex_least_squares(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights ``w >= 0``, ``sum w = 1`` that make ``w . gram . w`` least.

    Multiplicative steps keep them in their set; the function is convex, so that they end well.
    """
    k = len(gram)
    weights = np.full(k, 1.0 / k)
    size = float(np.abs(gram).max())
    if size <= 0:
        return weights
    gram = gram / size
    for _ in range(2000):
        slope = gram @ weights
        moved = weights * np.exp(-2.0 * (slope - slope.min()))
        moved /= moved.sum()
        if np.abs(moved - weights).max() < 1e-7:
            return np.asarray(moved)
        weights = moved
    return weights
