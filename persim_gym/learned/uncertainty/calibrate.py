"""Calibration of predictive intervals by split conformal prediction, and beyond what can be split.

The multiple of an interval is a quantile of the record's own errors, so that heavy tails do no
harm. Errors are taken over the whole record, for an episode's end may be unlike its beginning. The
model was fitted to them: they are multiplied by how much larger errors were on stretches that a fit
had not seen than on the same stretches after they were fitted. New episodes come to other places
than the record, and go on for longer: what the two fits differ there is added
(:mod:`persim_gym.learned.uncertainty.new_episodes`). Few agents are few independent errors, and
widen intervals as Student's distribution does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.circular import short_way
from persim_gym.learned.comparison.holdout import Record, starts_in
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.uncertainty.fading import Fading
from persim_gym.learned.uncertainty.intervals import (
    LEVELS,
    Floats,
    Intervals,
    Unseen,
    along,
    middle,
    students,
)
from persim_gym.learned.uncertainty.known_errors import KnownErrors, Less
from persim_gym.learned.uncertainty.multi_step import predict_ahead
from persim_gym.learned.uncertainty.new_episodes import fresh_episodes

#: Steps ahead at which errors are measured; between them logarithms are interpolated.
STEPS = (1, 2, 5, 10, 20, 30, 50, 100, 200)
#: Starts of predictions, at the most and of an agent, and starts that a number of steps needs.
STARTS, EACH, ENOUGH = 1500, 8, 25
#: Most steps of episodes that were not recorded.
FAR = 100
#: By how much growth beyond the recorded steps is taken larger than it was found, on a log scale,
#: and the most that a width may grow there beside that of what was expected.
DOUBT, MOST_GROWTH = 0.25, 10.0
#: Starts of one agent that are worth independent ones.
PER_AGENT = 2
#: What the members' deviation may be multiplied by.
WEIGHTS = (1.0, 2.0, 4.0)
#: Most that errors on unseen stretches count above those on fitted ones.
MOST_OPTIMISM = 10.0


@dataclass(frozen=True, slots=True)
class _Way:
    """Turns of coordinates that go round ``[d]``, and how predictions fade."""

    turn: Floats
    fading: Fading | None


@dataclass(frozen=True, slots=True)
class _Errors:
    """What predictions leave over.

    Attributes:
        left: Distances ``[n, H, d]``.
        deviation: The members' standard deviation ``[n, H, d]``.
        valid: ``[n, H]``.
    """

    left: Floats
    deviation: Floats
    valid: NDArray[np.bool_]

    def first(self, steps: int) -> _Errors:
        """Those of the first numbers of steps ahead."""
        return _Errors(self.left[:, :steps], self.deviation[:, :steps], self.valid[:, :steps])

    def scores(self, k: int, used: NDArray[np.bool_], base: Floats, weight: float) -> Floats:
        """Errors of some predictions in units of what was to be expected ``[n', d]``."""
        deviation = weight * self.deviation[used, k]
        return np.asarray(np.abs(self.left[used, k]) / np.hypot(deviation, base))


def calibrate(
    ensemble: Ensemble,
    record: Record,
    unseen: Unseen | None,
    observed: Floats,
    seed: int,
    fading: Fading | None = None,
) -> tuple[Intervals, Floats] | None:
    """Calibrate intervals.

    Args:
        ensemble: The members, fitted on all of the record.
        record: The record.
        unseen: A like fit on a part of it.
        observed: Variances of the observations' noise ``[d]``.
        seed: Chooses agents where there are very many.
        fading: How predictions fade, if they do.

    Returns:
        The intervals, and how much larger errors of a step are on what was not fitted ``[d]``;
        ``None`` where nothing can be predicted.
    """
    rng = np.random.default_rng([seed, 22])
    turn = np.zeros(record.next_obs.shape[1])
    for column, period in record.turns.items():
        turn[column] = period
    way = _Way(turn, fading)
    agents = len(np.unique(record.agent))
    start, length = _starts(record, np.ones(len(record.agent), dtype=np.bool_), rng)
    steps = [h for h in STEPS if (length >= h).sum() >= ENOUGH] or [1]
    if not len(start):
        return None
    errors = _errors(ensemble, record, start, length, steps, way)
    # From a step on, predictions of every start may have left the numbers.
    steps = steps[: int(errors.valid.any(axis=0).sum())]
    if not steps:
        return None
    errors = errors.first(len(steps))
    floor = 1e-6 * record.unit + 1e-9
    base = np.stack(
        [
            np.maximum(_quantile(np.abs(errors.left[used, k]), 0.8) / 1.2816, floor)
            for k, used in enumerate(errors.valid.T)
        ]
    )
    weight, times = 1.0, np.ones_like(base)
    held = None if unseen is None else _held(ensemble, record, unseen, steps, way, rng)
    if held is not None:
        weight, times = _optimism(held, base)
    base = base / weight
    fitted = np.empty((*base.shape, len(LEVELS)))
    for k, used in enumerate(errors.valid.T):
        scores = errors.scores(k, used, base[k], 1.0)
        for number, level in enumerate(LEVELS):
            fitted[k, :, number] = _quantile(scores, level)
    at = np.array(steps, dtype=np.float64)
    found = Intervals(at, base, fitted * times[..., None], observed, turn, at[-1])
    if unseen is not None:
        longest = 0 if held is None else held.steps[-1]
        known = KnownErrors(fitted, times[..., None], longest, weight > 1)
        found = _elsewhere(found, known, ensemble, unseen, record, rng, way)
    widened = np.maximum(found.quantiles * students(PER_AGENT * agents), 1e-3)
    return replace(found, quantiles=np.maximum.accumulate(widened, axis=2)), times[0]


def _elsewhere(
    found: Intervals,
    known: KnownErrors,
    ensemble: Ensemble,
    unseen: Unseen,
    record: Record,
    rng: np.random.Generator,
    way: _Way,
) -> Intervals:
    """Intervals of episodes that come to other places than the record, and go on for longer.

    Args:
        found: Intervals of errors of what had not been seen.
        known: What the record says.
        ensemble: The members.
        unseen: The fit that has seen less.
        record: The record.
        rng: Randomness.
        way: How distances are measured, and predictions fade.
    """
    steps = [h for h in STEPS if h <= max(FAR, found.steps[-1])]
    fresh = fresh_episodes(ensemble, record, steps[-1], rng)
    if len(fresh.agents) < ENOUGH:
        return found
    end = len(found.steps) - 1
    logs = np.log(steps), np.log(found.steps)
    base = np.exp(along(logs[0], logs[1], np.log(found.base), onward=True))
    inputs = fresh.agents, fresh.states, fresh.actions, steps, way
    seen = _predicted(ensemble, *inputs, record.over)
    other = _predicted(unseen.ensemble, *inputs)
    between = short_way(seen.centre - other.centre, found.turn)
    gaps = np.zeros((*base.shape, len(LEVELS)))
    for k, valid in enumerate((seen.valid & other.valid).T):
        if valid.sum() >= ENOUGH:
            sizes = np.abs(between[valid, k]) / np.hypot(seen.deviation[valid, k], base[k])
            gaps[k] = np.quantile(sizes, LEVELS, axis=0).T
    last = np.minimum(np.arange(len(steps)), end)
    less = Less.than(ensemble, unseen, len(record.agent))
    quantiles = known.at(last).elsewhere(steps, gaps, less)
    if len(steps) > end + 1:
        grown = np.clip(gaps[end + 1 :] / np.maximum(gaps[end], 1e-9), 1.0, MOST_GROWTH)
        ahead = np.maximum(quantiles[end + 1 :], quantiles[end] * grown)
        # A coordinate that never changes has no width at all.
        width = np.maximum(quantiles[end] * base[end, :, None], np.finfo(np.float64).tiny)
        wider = ahead * base[end + 1 :, :, None] / width
        quantiles[end + 1 :] = ahead * np.maximum(wider, 1.0) ** DOUBT
    return replace(found, steps=np.array(steps, np.float64), base=base, quantiles=quantiles)


def _quantile(values: Floats, level: float) -> Floats:
    """A quantile ``[d]`` of values ``[n, d]``, such that a new one is below it so often."""
    rank = min(len(values), math.ceil(level * (len(values) + 1)))
    return np.asarray(np.sort(values, axis=0)[rank - 1])


def _starts(
    record: Record, among: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that predictions begin at, evenly over stretches of rows, and steps from there on."""
    rows, left, _ = starts_in(record, among, EACH, 2 * ENOUGH)
    if len(rows) > STARTS:
        some = np.sort(rng.permutation(len(rows))[:STARTS])
        rows, left = rows[some], left[some]
    return rows, left


@dataclass(frozen=True, slots=True)
class _Predicted:
    """Open-loop predictions.

    Attributes:
        centre: The members' mean ``[n, H, d]``.
        deviation: Their standard deviation ``[n, H, d]``.
        valid: Whether they are finite, and not after an episode's end ``[n, H]``.
    """

    centre: Floats
    deviation: Floats
    valid: NDArray[np.bool_]


def _predicted(
    ensemble: Ensemble,
    agents: NDArray[np.int64],
    states: NDArray[Any],
    actions: NDArray[Any],
    steps: list[int],
    way: _Way,
    over: Callable[[Any], Any] | None = None,
) -> _Predicted:
    stacked, after = predict_ahead(ensemble, agents, states, actions, steps, over)
    if way.fading is not None:
        stacked = way.fading(stacked, torch.as_tensor(states), np.array(steps, np.float64))
    members = stacked.numpy()
    lost = ~np.isfinite(members).all(axis=(0, 3))
    members = np.where(lost[None, ..., None], 0.0, members)
    centre, deviation = middle(members, way.turn)
    deviation[lost] = 0.0
    return _Predicted(centre, deviation, ~lost & ~after)


def _errors(
    ensemble: Ensemble,
    record: Record,
    start: NDArray[np.int64],
    length: NDArray[np.int64],
    steps: list[int],
    way: _Way,
) -> _Errors:
    rows = start[:, None] + np.minimum(np.arange(max(steps)), length[:, None] - 1)
    inputs = record.agent[start], record.states[start], record.actions[rows]
    found = _predicted(ensemble, *inputs, steps, way)
    columns = np.array(steps) - 1
    left = short_way(found.centre - record.next_obs[rows[:, columns]], way.turn)
    left[~found.valid] = 0.0
    return _Errors(left, found.deviation, (length[:, None] > columns) & found.valid)


@dataclass(frozen=True, slots=True)
class _Held:
    """What is left of stretches that a fit had not seen.

    Attributes:
        steps: Steps ahead.
        before: By the fit that had not seen them.
        after: By the one that had.
    """

    steps: list[int]
    before: _Errors
    after: _Errors

    @property
    def valid(self) -> NDArray[np.bool_]:
        """``[n, H]``."""
        return self.before.valid & self.after.valid


def _held(
    ensemble: Ensemble,
    record: Record,
    unseen: Unseen,
    steps: list[int],
    way: _Way,
    rng: np.random.Generator,
) -> _Held | None:
    """What is left of stretches that a fit had not seen; ``None`` where they are too few."""
    held = np.zeros(len(record.agent), dtype=np.bool_)
    held[unseen.rows] = True
    start, length = _starts(record, held, rng)
    known = [h for h in steps if (length >= h).sum() >= ENOUGH]
    if not known:
        return None
    models = (unseen.ensemble, ensemble)
    before, after = (_errors(one, record, start, length, known, way) for one in models)
    return _Held(known, before, after)


def _optimism(held: _Held, base: Floats) -> tuple[float, Floats]:
    """How errors on stretches that were not fitted compare with those that were.

    Args:
        held: What is left of them.
        base: What was to be expected ``[H, d]``.

    Returns:
        What the members' deviation is to be multiplied by, and how much larger errors then are, in
        units of what was to be expected, than on the same stretches after they were fitted
        ``[H, d]``.
    """
    times = np.ones_like(base)
    before, valid = held.before, held.valid
    weight = min(WEIGHTS, key=lambda own: _unlikely(before, valid, base, own))
    for k, used in enumerate(valid.T):
        if used.sum() < ENOUGH:
            times[k:] = times[max(k - 1, 0)]
            break
        scores = [errors.scores(k, used, base[k], weight) for errors in (before, held.after)]
        square = np.prod(
            [_quantile(scores[0], q) / (_quantile(scores[1], q) + 1e-9) for q in (0.8, 0.95)],
            axis=0,
        )
        times[k:] = np.sqrt(np.clip(square, 1.0, MOST_OPTIMISM**2))
    return weight, times


def _unlikely(errors: _Errors, valid: NDArray[np.bool_], base: Floats, weight: float) -> float:
    """How unlikely errors are where the deviation has a weight, by heavy tails: less is better."""
    total = 0.0
    for k, used in enumerate(valid.T):
        scale = np.hypot(weight * errors.deviation[used, k], base[k])
        scores = errors.scores(k, used, base[k], weight)
        size = np.median(scores, axis=0) + 1e-9
        total += float(np.mean(np.log(scale * size) + 2.5 * np.log1p(np.square(scores / size) / 4)))
    return total
