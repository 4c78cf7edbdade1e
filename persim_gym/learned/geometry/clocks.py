"""Clocks found in data: columns that go on at a pace, and back by a full turn at the end of it.

The hour of the day, the day of the week, the phase of a machine, whatever the full turn is and
however noisy. Two kinds are found. At an *even* pace, one of each agent, the values of an episode
are a straight line less a turn for each round, and noise that does not grow. At an *uneven* pace,
such as an hour at irregular times, the steps over the end are as large as all others.

What is set back is no clock: a tank that is emptied when it is full, a battery that is charged, a
counter that an action resets. There the values before or after are always about the same, or
anything, and the step over the end is not one of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.geometry.geometry import TURN, Angle, Faster
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Jumps that are needed: of an even pace, where one is enough for a common turn, or where all are
#: alike; and of an uneven one.
JUMPS, UNEVEN_JUMPS = 3, 10
#: Turns that are likelier than others, and need no more evidence than one jump.
COMMON = (7.0, 12.0, 24.0, 52.0, 60.0, 100.0, 168.0, 360.0, 365.0, 366.0, 1440.0, 3600.0, 86400.0,
          1.0, TURN)  # fmt: skip
#: Largest ordinary step and largest noise, as shares of a turn, of several jumps and of one.
STEP, NOISE, QUIET = 0.3, 0.06, 0.02
#: Deviation of an even clock's noise, in those of its steps, where it is no drift: about 0.7.
WHITE = 0.9
#: Share of the rows whose pace has the sign of the others, and eighths of a turn that are visited.
ALIKE, EIGHTHS = 0.95, 6
#: Standard errors that chance is allowed.
CHANCE = 3.0
#: Standard deviations by which noise may carry values out of their range.
FAR = 10.0
#: Largest noise of a count, in its steps.
SURE = 0.2
#: Rows that are searched, about.
ROWS = 200_000
#: Share of the jumps at which an action does what it hardly ever does elsewhere.
ACTED = 0.9
#: Largest noise of a clock at an uneven pace, in steps.
LOUD = 0.25
#: Logarithm of the ratio of two variances that chance is allowed, in standard deviations of it.
LOPSIDED = 4.0


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with its jumps.

    Attributes:
        before: ``[T]``.
        after: ``[T]``.
        jump: Rounds that begin with a step: 1 where it falls by a jump, -1 where it rises by one.
        span: Largest less least value.
    """

    before: Floats
    after: Floats
    jump: NDArray[np.int64]
    span: float

    @property
    def change(self) -> Floats:
        """Steps as they are ``[T]``."""
        return self.after - self.before

    @property
    def jumps(self) -> int:
        """Number of jumps."""
        return int(np.count_nonzero(self.jump))

    @property
    def least(self) -> float:
        """The least value."""
        return float(min(self.before.min(), self.after.min()))

    def angle(self, column: int, turn: float) -> Angle:
        """The clock of a turn, whose range begins halfway between the ends of jumps.

        Where values keep to a range, halfway between the largest and the least one a turn further
        on, where rounding cannot take one for the other.
        """
        room = turn - self.span
        if room >= -1e-6 * turn:
            return Angle(column, turn, self.least - max(room, 0.0) / 2)
        over = self.jump != 0
        middle = (self.before[over] + self.after[over]).mean() / 2
        return Angle(column, turn, float(middle) - turn / 2)


def first_rows(t: Transitions) -> Transitions:
    """As many rows as it takes to know a clock, in whole episodes where these are short."""
    if len(t) <= ROWS:
        return t
    ends = np.append(t.starts, len(t))
    whole = int(ends[np.searchsorted(ends, ROWS, side="right") - 1])
    return t.select(np.arange(whole or ROWS))


def find_clock(t: Transitions, column: int) -> Angle | None:
    """The clock that a column is, if it is one."""
    found = _jumps(t, column)
    if found is None or not found.jumps:
        return None
    turn = _even(t, found)
    # What is done once a day may be done at the last hour of it, and sets no hour back.
    if not (turn is not None and _calendar(t, found, turn)) and _acted(t, found.jump != 0):
        return None
    turn = turn or _uneven(t, found)
    return None if turn is None else found.angle(column, turn)


def declared_clock(t: Transitions, column: int, period: float) -> Angle | None:
    """The range of a column that is known to go round, if it jumps and keeps to about one turn."""
    found = _jumps(t, column, period)
    if found is None or not found.jumps:
        return None
    ordinary = np.abs(found.change[found.jump == 0])
    noise = float(np.quantile(ordinary, 0.9)) if len(ordinary) else 0.0
    return found.angle(column, period) if found.span <= period + 2 * noise else None


def rounds_of(t: Transitions, angle: Angle) -> int:
    """How often an angle goes round in the data."""
    found = _jumps(t, angle.column, angle.period)
    return 0 if found is None else found.jumps


def find_count(
    t: Transitions, column: int, faster: Angle, period: float | None = None
) -> Angle | None:
    """The clock that counts the rounds of another one, if a column is one, such as a weekday.

    Args:
        t: The data.
        column: The column.
        faster: The other clock, such as the hour of the day.
        period: A full turn, where it is declared.
    """
    c = _jumps(t, column, period)
    other = _jumps(t, faster.column, faster.period)
    if c is None or other is None or faster.low is None or not c.jumps:
        return None
    rounds, number = (_so_far(t, own.jump) for own in (other, c))
    left = _centred(np.concatenate([c.before, c.after]) - rounds, _twice(t))
    number = _centred(number, _twice(t))
    known = float(number @ number)
    turn = period or float(np.round(-(left @ number) / max(known, 1e-300)))
    noise = float(np.sqrt(np.mean(np.square(left + turn * number))))
    enough = period or turn in COMMON or abs(int(c.jump.sum())) >= JUMPS
    if not enough or turn < 3 or noise > SURE or np.any((c.jump != 0) & (other.jump == 0)):
        return None
    if not -1 - 1e-5 * turn <= c.span - turn <= FAR * noise + 1e-5 * turn:
        return None
    # Where the other one counts itself, its round begins halfway through its first step.
    start = faster.low + (0.0 if faster.counts is None else 0.5)
    counts = Faster(faster.column, faster.period, start)
    return replace(c.angle(column, turn), counts=counts)


def set_back(before: NDArray[Any], after: NDArray[Any], floor: float, noise: float = 0.0) -> bool:
    """Whether jumps ``[n]`` end, or begin, always at about the same distance from the range's end.

    What goes on over the end comes as far behind it as it was before it, on average.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    middle = (before.mean() + after.mean()) / 2
    fell = np.where(before > middle, 1.0, -1.0)  # a jump up is one down, seen in a mirror
    sizes = [float((fell * (v - middle)).var()) - noise for v in (before, after)]
    large, small = (max(size, 0.0) + floor**2 for size in (max(sizes), min(sizes)))
    ratio = math.log(large / small)
    return ratio > LOPSIDED * math.sqrt(4 / len(before))


def _jumps(t: Transitions, column: int, turn: float | None = None) -> _Column | None:
    """A column with its jumps, which are of more than half the range or turn."""
    before, after = (values[:, column].astype(np.float64) for values in (t.obs, t.next_obs))
    span = float(max(before.max(), after.max()) - min(before.min(), after.min()))
    if span == 0.0:
        return None
    off = after - before
    if turn is None:
        off -= np.median(off)
    half = (span if turn is None else turn) / 2
    jump = (off < -half).astype(np.int64) - (off > half)
    return _Column(before, after, jump, span)


def _acted(t: Transitions, over: NDArray[np.bool_]) -> bool:
    """Whether an action is taken at the jumps and hardly ever elsewhere: it sets the value back."""
    number = int(over.sum())
    if t.action.ndim == 1:
        at = np.bincount(t.action[over])
        every = np.bincount(t.action, minlength=len(at))[: len(at)]
        return bool(((at >= ACTED * number) & (every - at <= (1 - ACTED) * number)).any())
    for values in (sign * own for own in t.action.T for sign in (1.0, -1.0)):
        least = np.quantile(values[over], 1 - ACTED)
        if np.count_nonzero(values[~over] >= least) <= (1 - ACTED) * number:
            return True
    return False


def _calendar(t: Transitions, c: _Column, turn: float) -> bool:
    """Whether a clock of a common turn goes on for several whole rounds by exactly even steps."""
    step = c.change + turn * c.jump
    pace = np.bincount(t.agent, step) / np.maximum(np.bincount(t.agent), 1)
    begun = np.unique(t.episode[c.jump != 0]).size
    exact = bool(np.abs(step - pace[t.agent]).max() <= 1e-5 * turn)
    return turn in COMMON and c.jumps - begun >= JUMPS - 1 and exact


def _even(t: Transitions, c: _Column) -> float | None:
    """The turn of a clock at an even pace."""
    value, number = np.concatenate([c.before, c.after]), _so_far(t, c.jump)
    step = np.concatenate([t.step, t.step + 1]).astype(np.float64)
    value, number, step = (_centred(v, _twice(t)) for v in (value, number, step))
    agent = np.tile(t.agent, 2)
    paces = [_slope(step, v, agent, t.num_agents) for v in (value, number)]
    level, sawtooth = value - (paces[0][agent] * step), number - (paces[1][agent] * step)
    known = float(sawtooth @ sawtooth)
    if known <= 1e-9 * len(sawtooth):
        return None
    turn = -float(level @ sawtooth) / known
    noise = float(np.sqrt(np.mean(np.square(level + turn * sawtooth))))
    if turn <= 0 or noise > NOISE * turn:
        return None
    pace = (paces[0] + turn * paces[1])[t.agent]
    left = c.change + turn * c.jump - pace
    over, middle = c.jump != 0, float(np.median(pace))
    if over.all():
        return None
    size, size_over = (float(np.sqrt(np.mean(np.square(left[own])))) for own in (~over, over))
    # Where noise itself goes over the end, large noise does so more often than small.
    weight = np.abs(c.change[~over]) + 1e-12
    size = max(size, float(np.sqrt(np.average(np.square(left[~over]), weights=weight))))
    close = 1e-5 * turn
    if (
        np.mean(pace * middle > 0) < ALIKE
        or np.abs(pace).max() > STEP * turn + size
        or size_over > size * math.sqrt(1 + CHANCE * math.sqrt(2 / c.jumps)) + close
        or not -abs(middle) - close <= c.span - turn <= FAR * size + close
        or noise > WHITE * size + close
        or set_back(c.before[over], c.after[over], close)
    ):
        return None
    sure = CHANCE * noise * math.sqrt(2 / known) + 1e-6 * turn
    shown, turn = abs(int(c.jump.sum())), _plain(turn, sure)
    if shown < JUMPS and not _usual(c, turn, abs(middle), noise):
        return None
    return turn if _goes_round(c, turn, abs(middle)) else None


def _goes_round(c: _Column, turn: float, pace: float) -> bool:
    """Whether values are all around a turn, as far as steps and a grid let them."""
    seen, _ = np.histogram(np.remainder(c.after - c.least, turn), 8, (0.0, turn))
    return int((seen > 0).sum()) >= min(EIGHTHS, int(turn / pace), len(np.unique(c.after)))


def _so_far(t: Transitions, jump: NDArray[np.int64]) -> Floats:
    """Rounds since an episode began, before and after each transition ``[2 T]``."""
    rounds = np.cumsum(jump)
    rounds -= np.repeat((rounds - jump)[t.starts], t.lengths)
    return np.concatenate([rounds - jump, rounds]).astype(np.float64)


def _twice(t: Transitions) -> NDArray[np.int64]:
    """Episodes before and after each transition ``[2 T]``, numbered."""
    return np.tile(np.repeat(np.arange(len(t.starts)), t.lengths), 2)


def _centred(values: Floats, group: NDArray[np.int64]) -> Floats:
    """Values ``[n]`` less the mean of their group."""
    mean = np.bincount(group, values) / np.maximum(np.bincount(group), 1)
    return np.asarray(values - mean[group])


def _slope(x: Floats, y: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    """Slopes ``[g]`` of centred values in each group."""
    return np.bincount(group, x * y, groups) / np.maximum(np.bincount(group, x * x, groups), 1e-12)


def _usual(c: _Column, turn: float, pace: float, noise: float) -> bool:
    """Whether one or two jumps are enough: of a common turn whose range begins as is usual."""
    low = c.angle(0, turn).low
    assert low is not None
    away = min(abs(low - usual) for usual in (0.0, 0.5, -turn / 2))
    return turn in COMMON and noise <= QUIET * turn and away <= 0.51 * pace + CHANCE * noise


def _uneven(t: Transitions, c: _Column) -> float | None:
    """The turn of a clock at an uneven pace: steps over the end are like all others."""
    over, ahead = c.jump != 0, 1 if c.jump.sum() > 0 else -1
    steps, jumps = ahead * c.change[~over], -ahead * c.change[over]
    wanted = UNEVEN_JUMPS if np.ptp(jumps) > 1e-5 * c.span else JUMPS
    if c.jumps < wanted or not len(steps) or (jumps < 0).any():
        return None
    mean, variance = float(steps.mean()), float(jumps.var())
    if np.quantile(steps, 0.02) < -0.02 * c.span or not 0 < mean <= STEP * c.span:
        return None
    if np.quantile(steps, 0.99) > 2 * STEP * c.span:
        return None
    together = np.flatnonzero(~over[1:] & ~over[:-1] & (t.step[1:] > 0))
    off = ahead * c.change - mean
    noise = max(0.0, -float(np.mean(off[together] * off[together + 1]))) if len(together) else 0.0
    values = np.unique(np.concatenate([c.before, c.after]))
    gap = c.span / (len(values) - 1)
    noise = noise if noise > gap**2 else 0.0  # steps of a grid
    # The longer a step, the more often it goes over the end.
    long = np.clip(steps, 0.0, 0.9 * c.span)
    weight = long / (c.span - long)
    usual = float(np.average(steps, weights=weight)) - 2 * noise / mean
    expected = float(np.average(np.square(steps - usual), weights=weight)) + 2 * noise
    if (
        math.sqrt(noise) > LOUD * mean
        or variance > (1.2 + CHANCE * math.sqrt(2 / c.jumps)) * expected + 2 * gap**2
        or set_back(c.before[over], c.after[over], gap, noise)
        or not _goes_round(c, usual + float(jumps.mean()), mean)
    ):
        return None
    turn, sure = usual + float(jumps.mean()), CHANCE * math.sqrt(variance / c.jumps) + gap
    if noise:  # which hides where the range ends
        return _plain(turn, sure) if abs(turn - c.span) <= FAR * math.sqrt(noise) + sure else None
    # Of values on a grid the range lacks one gap, of others about one at each end.
    lacking = gap if len(values) < len(t) / 2 else 2 * gap
    most = c.span + (2 if lacking == gap else 6) * gap
    low, high = max(c.span, turn - sure), min(most, turn + sure)
    if low > high:
        return None
    return _plain(min(max(c.span + lacking, low), high), (high - low) / 2, c.span)


def _plain(turn: float, sure: float, above: float = 0.0) -> float:
    """The common turn, or else the number with the fewest digits, that a turn may be."""
    common = min(COMMON, key=lambda own: abs(own - turn))
    for own in (common, *(round(turn, digits) for digits in range(-3, 8))):
        if abs(own - turn) <= sure and own > above:
            return own
    return turn
