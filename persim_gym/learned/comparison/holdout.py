"""Stretches of a record that are held out, and what open-loop predictions of them leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: Share of each record that is held out, and most steps.
HELD, LONGEST = 1 / 3, 60
#: Transitions of the median agent below which every part is held out in turn, and the parts; and
#: the share of a record before an earlier end.
SHORT, PARTS, EARLY = 30, 3, 0.45
#: Starts in a stretch, and agents that are compared.
STARTS, AGENTS = 6, 400
#: Share of each record that is kept back anywhere in it, and transitions of the median agent that
#: this asks for.
KEPT, LONG_ENOUGH = 1 / 6, 60
#: What a prediction's error is limited to, in units of the observations' deviation, and below which
#: errors count alike.
MOST, FINE = 1e3, 1e-5
#: Rollouts that must stay where the data are, their steps, and widths of the recorded range by
#: which they may leave it, for a share of the steps.
ROLLOUTS, LONG, BEYOND, OUTSIDE = 200, 200, 0.3, 0.1
#: How many times as long as the median agent's record they are at the most: after many times that,
#: the truth may have left the recorded range too.
AHEAD = 4
#: Power of the steps between with which a coordinate's displacements grow, from which it is one
#: that adds up, and pairs of observations that say so.
WANDERS, PAIRS = 0.6, 50


class Predictor(Protocol):
    """A fitted candidate."""

    def rollout(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        """Open-loop predictions.

        Args:
            agents: ``[n]``.
            states: States that the record holds ``[n, ...]``.
            actions: ``[n, h]`` integers or ``[n, h, a]``.

        Returns:
            Observations ``[n, h, d]``, the members' mean.
        """


@dataclass(frozen=True, slots=True)
class Record:
    """What candidates are compared on.

    Attributes:
        agent: ``[T]``, an agent's rows in order of time.
        episode: ``[T]``; rows of one episode follow each other without a gap.
        states: What a prediction begins from ``[T, ...]``.
        actions: ``[T]`` or ``[T, a]``.
        next_obs: ``[T, d]``.
        unit: Deviation of the observations, without their noise where that is known ``[d]``.
        scored: Rows that may be predicted ``[T]``; all by default. Rows with a made-up past, for
            example, are none.
        over: Whether observations ``[n, d]`` end an episode; none do by default.
        turns: Coordinates that go round, each with a full turn.
    """

    agent: NDArray[np.int64]
    episode: NDArray[np.int64]
    states: NDArray[Any]
    actions: NDArray[Any]
    next_obs: NDArray[Any]
    unit: NDArray[np.float64]
    scored: NDArray[np.bool_] | None = None
    over: Callable[[Any], Any] | None = None
    turns: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the record that is held out.

    Attributes:
        rows: The rest, to fit ``[k]``.
        start: Rows that predictions begin at ``[n]``.
        length: Steps that each may be predicted for ``[n]``.
        longest: The most of each stretch ``[s]``.
    """

    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    longest: NDArray[np.int64]


def held_out(record: Record, rng: np.random.Generator) -> list[Part]:
    """The parts that are held out in turn: the last, or each where records are short."""
    place, whole = _places(record)
    if np.median(_counts(record)) < SHORT:
        number = np.minimum(place * PARTS // np.maximum(whole, 1), PARTS - 1)
        parts = [(number == k) & (whole >= 2) for k in reversed(range(PARTS))]
    else:
        parts = [(place >= whole - _last(whole)) & (whole >= 2)]
    wanted = _compared(record, rng)
    found = []
    for held in parts:
        starts, length, longest = starts_in(record, held & wanted)
        if len(starts):
            found.append(Part(np.flatnonzero(~held), starts, length, longest))
    return found


def earlier_end(record: Record, rng: np.random.Generator) -> Part | None:
    """An earlier end of short records, to be predicted from what was before it.

    A few last steps may be the same luck for all agents, a hot day or a bad year, and what is
    between known steps is easily predicted. Predictions begin where the last stretch does not.
    """
    place, whole = _places(record)
    if np.median(_counts(record)) >= SHORT:
        return None
    held = (place >= np.maximum((whole * EARLY).astype(np.int64), 1)) & (whole >= 2)
    starts, length, longest = starts_in(record, held & _compared(record, rng))
    near = (place < whole - _last(whole))[starts]
    if not near.any():
        return None
    return Part(np.flatnonzero(~held), starts[near], length[near], longest)


def _counts(record: Record) -> NDArray[np.int64]:
    return np.unique(record.agent, return_counts=True)[1]


def _places(record: Record) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row's place in its agent's record, and how long that is ``[T]``."""
    order = np.argsort(record.agent, kind="stable")
    count = _counts(record)
    place, whole = np.empty_like(order), np.empty_like(order)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    whole[order] = np.repeat(count, count)
    return place, whole


def _last(whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps of the last stretch of records."""
    return np.minimum(np.maximum((whole * HELD).astype(np.int64), 1), LONGEST)


def _compared(record: Record, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Rows of the agents that predictions are compared on ``[T]``."""
    chosen = np.unique(record.agent)
    if len(chosen) > AGENTS:
        chosen = np.sort(rng.permutation(chosen)[:AGENTS])
    return np.isin(record.agent, chosen)


def kept_back(record: Record) -> NDArray[np.bool_]:
    """A short stretch of each record ``[T]``, of every agent at another place.

    Unlike :func:`held_out` it takes no place of all agents away: what a fit without it cannot know
    is about what the fit of everything cannot know elsewhere. Of short records nothing is kept.
    """
    _, rank, count = np.unique(record.agent, return_inverse=True, return_counts=True)
    if np.median(count) < LONG_ENOUGH:
        return np.zeros(len(rank), dtype=np.bool_)
    place, _ = _places(record)
    width = np.maximum((count * KEPT).astype(np.int64), 1)
    # The golden section spreads any number of agents evenly.
    middle = (0.618034 * np.arange(1, len(count) + 1)) % 1 * count
    begin = np.clip(middle - width / 2, 0, count - width).astype(np.int64)
    own, after = begin[rank], (begin + width)[rank]
    return np.asarray((place >= own) & (place < after) & (count[rank] >= 2))


def starts_in(
    record: Record, held: NDArray[np.bool_], each: int = STARTS, total: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows at which predictions begin, evenly over each stretch, the steps left, and its length.

    There are ``each`` of a stretch at the most, more where stretches are too few for ``total``.
    """
    new = np.append(True, (record.episode[1:] != record.episode[:-1]) | ~held[:-1])
    stretch = np.cumsum(new)
    rows = np.flatnonzero(held)
    if not len(rows):
        return rows, rows, rows
    begins = np.flatnonzero(np.append(True, stretch[rows][1:] != stretch[rows][:-1]))
    length = np.diff(np.append(begins, len(rows)))
    step = np.maximum(1, -(-length // max(each, -(-total // len(begins)))))
    inside = np.arange(len(rows)) - np.repeat(begins, length)
    chosen = inside % np.repeat(step, length) == 0
    if record.scored is not None:
        chosen &= record.scored[rows]
    left = np.repeat(length, length) - inside
    return rows[chosen], left[chosen], length


@dataclass(frozen=True, slots=True)
class Errors:
    """What predictions leave, of starts at horizons, in units.

    Attributes:
        left: Prediction less truth ``[n, H, d]``.
        valid: ``[n, H]``.
        agent: ``[n]``.
    """

    left: NDArray[np.float64]
    valid: NDArray[np.bool_]
    agent: NDArray[np.int64]

    @classmethod
    def of(cls, predictor: Predictor, part: Part, record: Record, steps: Sequence[int]) -> Errors:
        """Predict a part."""
        most = max(steps)
        ahead = np.minimum(np.arange(most), part.length[:, None] - 1)
        rows = part.start[:, None] + ahead
        agent = record.agent[part.start]
        predicted = predictor.rollout(agent, record.states[part.start], record.actions[rows])
        at = np.array(steps) - 1
        left = np.asarray(predicted, dtype=np.float64)[:, at] - record.next_obs[rows[:, at]]
        for column, turn in record.turns.items():
            left[..., column] -= turn * np.round(left[..., column] / turn)
        left = left / record.unit
        left = np.clip(np.nan_to_num(left, nan=MOST, posinf=MOST, neginf=-MOST), -MOST, MOST)
        return cls(left, part.length[:, None] > at, agent)

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        """Those of several parts together."""
        return cls(
            np.concatenate([p.left for p in parts]),
            np.concatenate([p.valid for p in parts]),
            np.concatenate([p.agent for p in parts]),
        )

    def of_agents(self, column: int) -> NDArray[np.float64]:
        """Root mean square error of each agent at a horizon, ``nan`` where there is none."""
        valid = self.valid[:, column]
        size = int(self.agent.max()) + 1
        square = np.square(self.left[:, column]).mean(-1)
        total = np.bincount(self.agent[valid], square[valid], size)
        count = np.bincount(self.agent[valid], minlength=size)
        return np.asarray(np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan)))


def escapes(predictor: Predictor, record: Record, rng: np.random.Generator) -> float:
    """Share of long rollouts, from where any agent was, that leave the recorded range and stay out.

    One that goes over it for a step and comes back has not run away.
    """
    number = len(record.agent)
    rows = rng.integers(0, number, ROLLOUTS)
    agent = record.agent[rng.integers(0, number, ROLLOUTS)]
    steps = min(LONG, AHEAD * int(np.median(np.unique(record.agent, return_counts=True)[1])))
    actions = record.actions[rng.integers(0, number, (ROLLOUTS, steps))]
    predicted = np.asarray(predictor.rollout(agent, record.states[rows], actions))
    low, high = record.next_obs.min(0), record.next_obs.max(0)
    width = BEYOND * (high - low) + wandered(
        record.next_obs, record.episode, np.arange(1, steps + 1)
    )
    width[:, list(record.turns)] = np.inf
    with np.errstate(invalid="ignore"):
        out = ~((predicted >= low - width) & (predicted <= high + width)).all(-1)
    if record.over is not None:
        flat = np.asarray(record.over(predicted.reshape(-1, predicted.shape[-1])))
        # What comes after an end is none.
        ended = flat.reshape(predicted.shape[:2]).astype(bool)
        before = np.cumsum(ended, axis=1) - ended
        out &= before == 0
    return float((out.mean(axis=1) > OUTSIDE).mean())


def wandered(
    next_obs: NDArray[Any], episode: NDArray[np.int64], steps: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far coordinates wander from where they were, after some steps ``[h, d]``.

    A stock that orders fill, a position, a total: what adds up leaves the recorded range in time,
    and a model of it must. It shows in displacements that go on growing with the steps between;
    of a coordinate whose displacements do not, this is 0.

    Args:
        next_obs: Observations ``[T, d]``, those of one episode in order of time.
        episode: Episodes that they are of ``[T]``.
        steps: Steps ahead ``[h]``.
    """
    observed = np.asarray(next_obs, dtype=np.float64)
    longest = int(np.median(np.unique(episode, return_counts=True)[1]))
    apart = np.array([longest // 4, longest // 2, 3 * longest // 4])
    none = np.zeros((len(steps), observed.shape[1]))
    if not apart[0]:
        return none
    after = []
    for between in apart:
        same = episode[between:] == episode[:-between]
        if same.sum() < PAIRS:
            return none
        moved = np.abs(observed[between:] - observed[:-between])[same]
        after.append(np.quantile(moved, 0.95, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.diff(np.log(after), axis=0) / np.diff(np.log(apart))[:, None]
    # What comes back or to rest grows at first, too.
    power = np.nan_to_num(powers, nan=0.0, posinf=0.0, neginf=0.0).min(axis=0)
    half = apart[1]
    time = steps[:, None] / half
    return np.where(power >= WANDERS, after[1] * time ** np.minimum(power, 1.0), none)
