"""Predictive intervals of open-loop predictions, calibrated by split conformal prediction.

An interval is the members' mean and a multiple of ``sqrt(spread^2 + base^2)`` on both sides: of the
members' standard deviation, which grows off the data, and of what predictions of the record leave
after so many steps, noise and misfit alike. The multiple is a quantile of the record's own errors,
so that heavy tails do no harm.

Errors are taken over the whole record, for an episode's end may be unlike its beginning. The model
was fitted to them: they are multiplied by how much larger errors were on stretches that a fit had
not seen than on the same stretches after they were fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.stretches import Record

Floats = NDArray[np.float64]

#: Steps ahead at which errors are measured; between them logarithms are interpolated.
STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
#: Levels at which quantiles are kept.
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: Starts of predictions, at the most and of an agent, and starts that a number of steps needs.
STARTS, EACH, ENOUGH = 1500, 8, 25
#: Starts of one agent that are worth independent ones.
PER_AGENT = 2
#: What the members' spread may be multiplied by.
WEIGHTS = (1.0, 2.0, 4.0)
#: Most that errors on unseen stretches count above those on fitted ones.
MOST_OPTIMISM = 10.0
#: Share of a base that is left of the interval of a state, whatever the observations' noise.
LEAST = 0.05


@dataclass(frozen=True, slots=True)
class Intervals:
    """What intervals are made of; arrays are in the data's units.

    Attributes:
        steps: Steps ahead ``[H]``.
        base: Error that is not the members' disagreement ``[H, d]``.
        quantiles: Of errors in units of ``sqrt(spread^2 + base^2)``, at :data:`LEVELS`
            ``[H, d, L]``.
        observed: Variances of the observations' noise ``[d]``.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
    """

    steps: Floats
    base: Floats
    quantiles: Floats
    observed: Floats
    turn: Floats

    def around(self, members: Floats, level: float, state: bool) -> tuple[Floats, Floats]:
        """Centres and half widths ``[n, h, d]`` of members' predictions ``[m, n, h, d]``.

        Args:
            members: The predictions.
            level: Share of what comes that should be inside.
            state: Of the state without its observation's noise.
        """
        centre, spread = middle(members, self.turn)
        steps = np.log(np.arange(1, centre.shape[1] + 1))
        base = np.exp(_along(steps, np.log(self.steps), np.log(self.base), onward=True))
        known = _at_level(np.log(self.quantiles), level)
        times = np.exp(_along(steps, np.log(self.steps), known, onward=False))
        width = times * np.sqrt(np.square(spread) + np.square(base))
        if state:
            noise = NormalDist().inv_cdf(0.5 + 0.5 * level) ** 2 * self.observed
            width = np.sqrt(np.maximum(np.square(width) - noise, np.square(LEAST * width)))
        return centre, width

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        names = ("steps", "base", "quantiles", "observed", "turn")
        return {f"intervals.{name}": torch.as_tensor(getattr(self, name)) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Intervals:
        """What :meth:`tensors` has given, by the rest of the names."""
        return cls(**{name: tensor.double().numpy() for name, tensor in tensors.items()})


def middle(members: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation ``[n, h, d]`` of members ``[m, n, h, d]``, the short way round."""
    away = _short(members - members[:1], turn)
    return members[0] + away.mean(0), away.std(0)


def _short(away: Floats, turn: Floats) -> Floats:
    """Distances, of coordinates that go round the short way."""
    if not turn.any():
        return away
    full = np.where(turn > 0, turn, 1.0)
    return np.asarray(np.where(turn > 0, away - full * np.round(away / full), away))


def _along(steps: Floats, known: Floats, values: Floats, *, onward: bool) -> Floats:
    """Values ``[H, d]`` of some logarithms of steps at others ``[h]``: ``[h, d]``.

    Beyond the last one they stay, or go on as they came, as long as they grow no faster than the
    number of steps.
    """
    found = np.stack([np.interp(steps, known, column) for column in values.T], axis=1)
    if onward and len(known) > 1:
        slope = np.clip((values[-1] - values[-2]) / (known[-1] - known[-2]), 0.0, 1.0)
        found += np.maximum(steps - known[-1], 0.0)[:, None] * slope
    return found


def _at_level(quantiles: Floats, level: float) -> Floats:
    """Quantiles ``[H, d]`` at a level, between and beyond those that are kept."""
    normal = NormalDist()
    at = np.array([normal.inv_cdf(0.5 + 0.5 * known) for known in LEVELS])
    wanted = normal.inv_cdf(0.5 + 0.5 * level)
    flat = quantiles.reshape(-1, len(LEVELS))
    found = np.array([np.interp(math.log(wanted), np.log(at), row) for row in flat])
    # Beyond the kept ones a normal distribution's.
    beyond = math.log(wanted / float(np.clip(wanted, at[0], at[-1])))
    return np.asarray(found.reshape(quantiles.shape[:2]) + beyond)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A fit that some of the record was kept from.

    Attributes:
        ensemble: Its members.
        rows: Transitions that it has not seen ``[k]``, ascending.
    """

    ensemble: Ensemble
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Errors:
    """What predictions leave over.

    Attributes:
        left: Distances ``[n, H, d]``.
        spread: The members' standard deviation ``[n, H, d]``.
        valid: ``[n, H]``.
    """

    left: Floats
    spread: Floats
    valid: NDArray[np.bool_]

    def scores(self, k: int, used: NDArray[np.bool_], base: Floats, weight: float) -> Floats:
        """Errors of some predictions in units of what was to be expected ``[n', d]``."""
        spread = weight * self.spread[used, k]
        return np.asarray(np.abs(self.left[used, k]) / np.hypot(spread, base))


def calibrate(
    ensemble: Ensemble, record: Record, unseen: Unseen | None, observed: Floats, seed: int
) -> tuple[Intervals, Floats] | None:
    """Calibrate intervals.

    Args:
        ensemble: The members, fitted on all of the record.
        record: The record.
        unseen: A like fit on a part of it.
        observed: Variances of the observations' noise ``[d]``.
        seed: Chooses agents where there are very many.

    Returns:
        The intervals, and how much larger errors of a step are on what was not fitted ``[d]``;
        ``None`` where nothing can be predicted.
    """
    rng = np.random.default_rng([seed, 22])
    turn = np.zeros(record.next_obs.shape[1])
    for column, period in record.turns.items():
        turn[column] = period
    start, length = _starts(record, np.ones(len(record.agent), dtype=np.bool_), rng)
    steps = [h for h in STEPS if (length >= h).sum() >= ENOUGH] or [1]
    if not len(start):
        return None
    errors = _errors(ensemble, record, start, length, steps, turn)
    floor = 1e-6 * record.unit + 1e-9
    base = np.stack(
        [
            np.maximum(_quantile(np.abs(errors.left[used, k]), 0.8) / 1.2816, floor)
            for k, used in enumerate(errors.valid.T)
        ]
    )
    weight, times = 1.0, np.ones_like(base)
    if unseen is not None:
        weight, times = _optimism(ensemble, record, unseen, steps, turn, base, rng)
    base = base / weight
    quantiles = np.empty((*base.shape, len(LEVELS)))
    for k, used in enumerate(errors.valid.T):
        few = min(int(used.sum()), PER_AGENT * len(np.unique(record.agent[start[used]])))
        scores = errors.scores(k, used, base[k], 1.0)
        for number, level in enumerate(LEVELS):
            quantiles[k, :, number] = _quantile(scores, level, few) * times[k]
    known = np.array(steps, dtype=np.float64)
    found = Intervals(known, base, np.maximum(quantiles, 1e-3), observed, turn)
    return found, times[0]


def _quantile(values: Floats, level: float, independent: int = 0) -> Floats:
    """A quantile ``[d]`` of values ``[n, d]``, such that a new one is below it so often.

    Args:
        values: The values.
        level: Share of new values that are to be below it.
        independent: How many independent values they are worth; by default all.
    """
    share = level * (1.0 + 1.0 / (independent or len(values)))
    rank = min(len(values), math.ceil(share * len(values)))
    return np.asarray(np.sort(values, axis=0)[rank - 1])


def _starts(
    record: Record, among: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that predictions begin at, evenly over stretches of rows, and steps from there on."""
    new = np.append(True, (record.episode[1:] != record.episode[:-1]) | ~among[:-1])
    rows = np.flatnonzero(among)
    if not len(rows):
        return rows, rows
    stretch = np.cumsum(new)[rows]
    begins = np.flatnonzero(np.append(True, stretch[1:] != stretch[:-1]))
    length = np.diff(np.append(begins, len(rows)))
    inside = np.arange(len(rows)) - np.repeat(begins, length)
    step = np.repeat(np.maximum(1, -(-length // EACH)), length)
    chosen = inside % step == 0
    if record.scored is not None:
        chosen &= record.scored[rows]
    left = np.repeat(length, length) - inside
    places = np.flatnonzero(chosen)
    if len(places) > STARTS:
        places = np.sort(rng.permutation(places)[:STARTS])
    return rows[places], left[places]


@torch.no_grad()
def _errors(
    ensemble: Ensemble,
    record: Record,
    start: NDArray[np.int64],
    length: NDArray[np.int64],
    steps: list[int],
    turn: Floats,
) -> _Errors:
    most = max(steps)
    rows = start[:, None] + np.minimum(np.arange(most), length[:, None] - 1)
    device, at = ensemble.device, set(steps)
    width = ensemble.lag * (ensemble.past + ensemble.obs_dim)
    unrolled = ensemble.unroll(
        torch.as_tensor(record.agent[start], device=device),
        torch.as_tensor(record.states[start][:, -width:], device=device),
        torch.as_tensor(record.actions[rows], device=device)[:, None],
    )
    kept = [obs[:, :, 0].double().cpu() for t, obs in enumerate(unrolled, 1) if t in at]
    members = torch.stack(kept, dim=2).numpy()
    lost = ~np.isfinite(members).all(axis=(0, 3))
    members = np.where(lost[None, ..., None], 0.0, members)
    centre, spread = middle(members, turn)
    columns = np.array(steps) - 1
    left = _short(centre - record.next_obs[rows[:, columns]], turn)
    left[lost] = spread[lost] = 0.0
    return _Errors(left, spread, (length[:, None] > columns) & ~lost)


def _optimism(
    ensemble: Ensemble,
    record: Record,
    unseen: Unseen,
    steps: list[int],
    turn: Floats,
    base: Floats,
    rng: np.random.Generator,
) -> tuple[float, Floats]:
    """How errors on stretches that were not fitted compare with those that were.

    Returns:
        What the members' spread is to be multiplied by, and how much larger errors then are, in
        units of what was to be expected, than on the same stretches after they were fitted
        ``[H, d]``.
    """
    held = np.zeros(len(record.agent), dtype=np.bool_)
    held[unseen.rows] = True
    start, length = _starts(record, held, rng)
    times = np.ones((len(steps), len(turn)))
    known = [h for h in steps if (length >= h).sum() >= ENOUGH]
    if not known:
        return 1.0, times
    before = _errors(unseen.ensemble, record, start, length, known, turn)
    after = _errors(ensemble, record, start, length, known, turn)
    valid = before.valid & after.valid
    weight = min(WEIGHTS, key=lambda own: _unlikely(before, valid, base, own))
    for k, used in enumerate(valid.T):
        if used.sum() < ENOUGH:
            times[k:] = times[max(k - 1, 0)]
            break
        scores = [errors.scores(k, used, base[k], weight) for errors in (before, after)]
        square = np.prod(
            [_quantile(scores[0], q) / (_quantile(scores[1], q) + 1e-9) for q in (0.8, 0.95)],
            axis=0,
        )
        times[k:] = np.sqrt(np.clip(square, 1.0, MOST_OPTIMISM**2))
    return weight, times


def _unlikely(errors: _Errors, valid: NDArray[np.bool_], base: Floats, weight: float) -> float:
    """How unlikely errors are where the spread counts so much, by heavy tails: less is better."""
    total = 0.0
    for k, used in enumerate(valid.T):
        scale = np.hypot(weight * errors.spread[used, k], base[k])
        scores = errors.scores(k, used, base[k], weight)
        size = np.median(scores, axis=0) + 1e-9
        total += float(np.mean(np.log(scale * size) + 2.5 * np.log1p(np.square(scores / size) / 4)))
    return total
