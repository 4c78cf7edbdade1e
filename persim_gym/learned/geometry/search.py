"""Angles found in data: pairs on a circle, coordinates that jump by a turn, and clocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.geometry.clocks import (
    declared_clock,
    find_clock,
    find_count,
    first_rows,
    rounds_of,
    set_back,
)
from persim_gym.learned.geometry.geometry import TURN, Angle, Circle, Geometry
from persim_gym.learned.moments import blocks
from persim_gym.offline.tables.turns import RANGES
from persim_gym.offline.transitions import Transitions

#: Standard deviation of a pair's squared radius, over its mean, up to which it lies on a circle:
#: of any radius, and of radius 1, where noise may have moved it off. By how much a radius that is
#: taken for 1 may differ from it.
TIGHT, NOISY, UNIT = 5e-3, 0.15, 0.02
#: Standard deviation of the squared radius over that of each of the two squares, below which the
#: one makes up for the other; and of these over the squared radius, below which nothing turns.
MADE_UP, STILL = 0.5, 1e-6
#: Correlation of what is left of the squared radius with where on the circle a point is, above
#: which it is no noise; and what chance is allowed, in standard deviations of it.
UNRELATED, CHANCE = 0.1, 3.0
#: Share of a turn by which values may be out of their range, and that a jump and an ordinary
#: change are at least and at most.
OUTSIDE, JUMP, ORDINARY = 0.02, 0.75, 0.3
#: Share of a turn by which the turns of a clock and an angle that are the same differ at the most.
SAME = 0.005
#: Ranges of the rows where a clock was found that all rows may have.
BEYOND = 1.2
#: Jumps that are needed, and eighths of a turn in which values are.
JUMPS, EIGHTHS = 3, 6


def find_geometry(transitions: Transitions, angles: tuple[int, ...] = ()) -> Geometry:
    """Angles that the data declare, the task declares, or that are found.

    Args:
        transitions: The data, with ``angles`` and ``circles`` that are declared.
        angles: Columns that the task declares as angles in radians.

    Raises:
        ValueError: If a declared pair is nowhere near a circle, or columns do not fit together.
    """
    t = transitions
    d, first = t.obs.shape[1], first_rows(t)
    circles = [_declared_circle(t, *pair) for pair in t.circles]
    known = {c for pair in t.circles for c in pair}
    found: list[Angle] = []
    for column, period in (*t.angles, *((c, TURN) for c in angles)):
        if column not in known:
            known.add(column)
            found.append(_declared_angle(t, first, column, period))
    for circle in _circles(t, known):
        known |= {circle.cosine, circle.sine}
        circles.append(circle)
    for column in range(d):
        if column not in known:
            angle = _found_angle(t, first, column)
            found += [] if angle is None else [angle]
    found = _counting(first, found, {c for o in circles for c in (o.cosine, o.sine)})
    return Geometry(d, tuple(circles), tuple(sorted(found, key=lambda angle: angle.column)))


def _found_angle(t: Transitions, first: Transitions, column: int) -> Angle | None:
    """The clock or wrapped angle that a column is.

    A weekday from 0 to 6 would pass for an angle in radians, and the day of a year for degrees.
    """
    clock, angle = find_clock(first, column), _wrapped(t, column, RANGES)
    if clock is not None and first is not t and _span(t, column) > BEYOND * _span(first, column):
        clock = None
    if clock is None or angle is None:
        return clock or angle
    return angle if abs(clock.period - angle.period) <= SAME * angle.period else clock


def _span(t: Transitions, column: int) -> float:
    """The largest less the least value of a column."""
    ends = [f(own[:, column]) for own in (t.obs, t.next_obs) for f in (np.min, np.max)]
    return float(max(ends) - min(ends))


def _counting(t: Transitions, found: list[Angle], known: set[int]) -> list[Angle]:
    """The angles, with clocks that count the rounds of others, such as weekdays."""
    declared = dict(t.angles)
    turning = {a.column: a for a in found}
    # The fastest first: what counts its rounds may have its own rounds counted.
    clocks = sorted((a for a in found if a.low is not None), key=lambda a: -rounds_of(t, a))
    queue = [a.column for a in clocks]
    for place in queue:
        for column in range(t.obs.shape[1]):
            own = turning.get(column)
            if column in known or column == place or (own is not None and own.counts is not None):
                continue
            count = find_count(t, column, turning[place], declared.get(column))
            if count is not None:
                turning[column] = count
                queue += [] if column in queue else [column]
    return list(turning.values())


def _declared_circle(t: Transitions, cosine: int, sine: int) -> Circle:
    pair = t.next_obs[:, [cosine, sine]].astype(np.float64)
    square = np.square(pair).sum(axis=1)
    middle = float(square.mean())
    if middle == 0.0 or float(square.std()) > 0.5 * middle:
        raise ValueError(
            f"columns {cosine} and {sine} are declared as cosine and sine of an angle, and their "
            f"squares add up to {square.min():.3g} up to {square.max():.3g}: they must lie near a "
            "circle around the origin"
        )
    return Circle(cosine, sine, _radius(middle))


def _radius(square: float) -> float:
    """The radius of a mean square, which noise makes a little larger: 1 where it is near."""
    radius = math.sqrt(square)
    return 1.0 if abs(radius - 1.0) < UNIT else radius


def _declared_angle(t: Transitions, first: Transitions, column: int, period: float) -> Angle:
    ranges = tuple(r for r in RANGES if r[0] == period) or ((period, -period / 2), (period, 0.0))
    clock = find_clock(first, column)
    if clock is not None and abs(clock.period - period) <= OUTSIDE * period:
        return replace(clock, period=period)
    found = _wrapped(t, column, ranges) or declared_clock(first, column, period)
    return found or Angle(column, period)


def _circles(t: Transitions, known: set[int]) -> Iterator[Circle]:
    """Pairs of coordinates that lie on a circle in all the data, the closest first."""
    d, n = t.obs.shape[1], len(t)
    total, products = np.zeros(d), np.zeros((d, d))
    for rows in blocks(n):
        square = np.square(t.next_obs[rows].astype(np.float64))
        total += square.sum(axis=0)
        products += square.T @ square
    mean = total / n
    covariance = products / n - np.outer(mean, mean)
    variance = np.diag(covariance)
    both = mean[:, None] + mean[None, :]
    of_both = variance[:, None] + variance[None, :] + 2 * covariance
    off = np.sqrt(np.maximum(of_both, 0.0)) / np.maximum(both, 1e-300)
    taken = set(known)
    first, second = np.triu_indices(d, 1)
    for place in np.argsort(off[first, second], kind="stable").tolist():
        i, j = int(first[place]), int(second[place])
        distance = float(off[i, j])
        if distance > NOISY:
            return
        radius = math.sqrt(both[i, j])
        least = float(min(variance[i], variance[j]))
        still = least <= (STILL * both[i, j]) ** 2
        if {i, j} & taken or still or of_both[i, j] >= MADE_UP**2 * least:
            continue
        if distance > TIGHT and not (abs(radius - 1) < UNIT and _only_noise(t, i, j)):
            continue
        taken |= {i, j}
        yield Circle(i, j, _radius(float(both[i, j])))


def _only_noise(t: Transitions, i: int, j: int) -> bool:
    """Whether a pair's distance from its circle has nothing to do with where it is on it."""
    x, y = (t.next_obs[:, c].astype(np.float64) for c in (i, j))
    off = x**2 + y**2
    off -= off.mean()
    for place in (x, y, x * y, x**2 - y**2):
        centred = place - place.mean()
        size = float(np.linalg.norm(off) * np.linalg.norm(centred))
        if abs(float(off @ centred)) > (UNRELATED + CHANCE / math.sqrt(len(off))) * size:
            return False
    return True


def _wrapped(t: Transitions, column: int, ranges: tuple[tuple[float, float], ...]) -> Angle | None:
    """The range that a column is wrapped into, if it jumps by nearly a turn and not otherwise."""
    before, after = (values[:, column] for values in (t.obs, t.next_obs))
    low, high = (float(f((f(before), f(after)))) for f in (np.min, np.max))
    # An angle in radians is no whole number, as a weekday is, and an angle in degrees may be one.
    whole = not np.any(after % 1)
    for period, least in ranges:
        margin = OUTSIDE * period
        if period == TURN and whole:
            continue
        if low < least - margin or high > least + period + margin or high - low < JUMP * period:
            continue
        change: NDArray[np.float64] = np.abs(after.astype(np.float64) - before)
        jumps = change > JUMP * period
        ordinary = change[~jumps]
        if int(jumps.sum()) < JUMPS or not len(ordinary):
            continue
        seen, _ = np.histogram(after, 8, (least, least + period))
        if int((seen > 0).sum()) < EIGHTHS:
            continue
        largest = float(ordinary.max())
        around = float((period - change[jumps]).max())
        if set_back(before[jumps], after[jumps], 0.01 * margin):
            continue
        if largest <= ORDINARY * period and around <= max(2 * largest, margin):
            return Angle(column, period, least)
    return None
