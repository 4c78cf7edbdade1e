"""Values that contradict the row before them and the row after them.

An outlier of an observation stands out twice: its row is not where the row before it leads, and the
row after it is not where it leads. With what was to be expected in its place, the row after it is
as it should be. What happens to the process, a contact, a reset or a dose, shows once: the rows
after it go on from where it has led.

What is to be expected says a regression of each row on the one before it. How often that is wrong
by chance is counted with mirrored values, as far from what is expected on the other side: these
explain the row after them as rarely as chance does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.tables.row_regression import RowRegression, short_way, unit_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Residuals in units of what is usual from which a row is not what follows, up to which it is, and
#: the share of what is left with the outlier that may be left without it.
FAR, USUAL, LEFT = 8.0, 3.0, 0.03
#: Least share of a value's distance from what was expected that is to be seen in the next row.
MEMORY = 0.1
#: Rows before and after a row whose residuals say what is usual there, without its neighbours, and
#: which of them counts.
AROUND, LARGE = 7, 0.7
#: Rounds: outliers that were found are left out of the next regression, and neighbours of theirs
#: are found.
ROUNDS = 3
#: Outliers that follow each other at the most; rows up to which what stays like them is
#: counted, and its share of the outliers of a column from which it is something that happens.
LENGTH, LASTING, OFTEN = 2, 5, 0.3
#: Fewest outliers that are believed, also as a share of the rows, and how many times as many as by
#: chance they have to be.
FEWEST, SHARE, TIMES = 6, 0.002, 1.5
#: Shares of the outliers that are smaller than what else may be one, of which the first serves with
#: which that is as rare, as a share of the outliers.
LIKE, RARE = (0.1, 0.25), 0.1
#: Numbers that are searched together.
BLOCK = 2**18
#: A table of more blocks than this is searched in some agents first, if these are at least so many.
#: The search ends with them if they have less than this share of the outliers that are needed.
BLOCKS, AGENTS, NEARLY = 2, 30, 0.25
#: Rounding of single precision, as a share of a value.
ROUNDING = 1e-7


def outliers(
    values: Floats,
    follows: Flags,
    actions: Floats,
    agent: NDArray[np.int64],
    turns: Floats,
) -> Flags:
    """Which values ``[n, d]`` are outliers of observations.

    Args:
        values: State columns, trajectory after trajectory in the order of time ``[n, d]``; nan
            where there is none.
        follows: Whether each row but the first follows the one before it ``[n - 1]``.
        actions: Numbers of the action that was taken in each row ``[n, a]``; nan where there is
            none.
        agent: Whose each row is, ascending ``[n]``.
        turns: Full turns of columns that are angles, 0 of the others ``[d]``.
    """
    some = _some_agents(values, agent)
    if some is not None:
        seen = _searched(values[some], _among(follows, some), actions[some], agent[some], turns)[0]
        if seen.any(axis=1).sum() < NEARLY * SHARE * some.sum():
            return np.zeros(values.shape, dtype=np.bool_)
    found, chance, lasting = _searched(values, follows, actions, agent, turns)
    step = np.where(follows[:, None], np.abs(np.diff(values, axis=0)), np.nan)
    rests = [
        not np.nanmedian(own) > 0 if found[:, k].any() else False for k, own in enumerate(step.T)
    ]
    found[:, rests | (lasting > OFTEN * found.sum(axis=0))] = False
    rows = int(found.any(axis=1).sum())
    if rows < max(FEWEST, SHARE * len(values), TIMES * chance):
        found[:] = False
    return found


def _some_agents(values: Floats, agent: NDArray[np.int64]) -> Flags | None:
    """Rows ``[n]`` of agents by chance that fill a block, where there are many more."""
    rows = max(1, BLOCK // values.shape[1])
    if len(values) <= BLOCKS * rows:
        return None
    each = np.bincount(agent)
    order = np.random.default_rng(0).permutation(np.flatnonzero(each))
    order = order[: int(np.searchsorted(np.cumsum(each[order]), rows)) + 1]
    taken = np.zeros(len(each), dtype=np.bool_)
    taken[order] = True
    some: Flags = taken[agent]
    return some if len(order) >= AGENTS and BLOCKS * some.sum() < len(values) else None


def _among(follows: Flags, some: Flags) -> Flags:
    """Whether each but the first of some rows, all those of an agent, follows the one before it."""
    return np.asarray(np.append(False, follows)[some][1:])


def _searched(
    values: Floats, follows: Flags, actions: Floats, agent: NDArray[np.int64], turns: Floats
) -> tuple[Flags, int, Floats]:
    """Outliers, block by block, how many rows are by chance, and how many last ``[d]``."""
    found, chance = np.zeros(values.shape, dtype=np.bool_), 0
    lasting = np.zeros(values.shape[1])
    begins = np.flatnonzero(np.append(True, ~follows))
    block = begins // max(1, BLOCK // values.shape[1])
    edges = [*begins[np.append(True, np.diff(block) > 0)].tolist(), len(values)]
    for first, stop in itertools.pairwise(edges):
        part = slice(first, stop)
        screen = _Screen(values[part], follows[first : stop - 1], actions[part], agent[part], turns)
        found[part], by_chance = screen.search()
        chance += by_chance
        lasting += screen.lasting
    return found, chance, lasting


@dataclass
class _Screen:
    """The rows of some trajectories; arguments of :func:`outliers`."""

    values: Floats
    follows: Flags
    actions: Floats
    agent: NDArray[np.int64]
    turns: Floats

    def __post_init__(self) -> None:
        """Rows that follow a row, both without a gap in their values."""
        known: Flags = np.asarray(np.isfinite(self.values).all(axis=1))
        acted: Flags = np.asarray(np.isfinite(self.actions).all(axis=1))
        self.first = np.flatnonzero(self.follows & known[:-1] & acted[:-1] & known[1:])
        self.leads = np.zeros(len(self.values), dtype=np.bool_)
        self.leads[self.first] = True
        self.grid = _resolution(self.values)
        self.far = np.zeros(self.values.shape, dtype=np.bool_)
        self.unit = unit_of(self.values[known]) if known.any() else np.ones(self.values.shape[1])
        self.size = np.zeros((len(self.values), 2))
        self.lasting = np.zeros(self.values.shape[1])

    def search(self) -> tuple[Flags, int]:
        """Which values are outliers ``[n, d]``, and how many rows are by chance."""
        bad = np.zeros(self.values.shape, dtype=np.bool_)
        chance = 0
        now = self.values
        for _ in range(ROUNDS):
            used: Flags = np.asarray(~(bad[self.first] | bad[self.first + 1]).any(axis=1))
            if not RowRegression.possible(used.sum(), now.shape[1] + self.actions.shape[1]):
                break
            last, rows = bad, self.first[used]
            place = np.minimum(np.searchsorted(rows, rows - 1), len(rows) - 1)
            model = RowRegression.fitted(
                now[rows], self.actions[rows], now[rows + 1], self.agent[rows], self.turns,
                np.where(rows[place] == rows - 1, place, -1),
            )  # fmt: skip
            bad, now, chance = self._round(model, now, used)
            if not bad.any() or np.array_equal(bad, last):
                break
        if bad.any():
            self._mark_others(bad)
        return bad, chance

    def _mark_others(self, bad: Flags) -> None:
        """Mark what else is as far off as outliers are, where that is rare.

        Of a first or a last row, or among several outliers, nothing tells whether it is the row or
        the process; but where steps that no outlier explains are much rarer than outliers of that
        size, in units of what is usual there and of the column, it is the row.
        """
        touched: Flags = np.asarray(bad.any(axis=1))
        after = self.first + 1
        clean = ~(touched[self.first] | touched[after])
        led_to = np.zeros_like(self.leads)
        led_to[after] = True
        known = self.size[touched & led_to]
        if len(known) < FEWEST:
            return
        for share in LIKE:
            off = clean & (self.size[after] >= np.quantile(known, share, axis=0)).all(axis=1)
            if off.sum() <= RARE * touched.sum():
                rows = np.where(led_to[self.first], after, self.first)[off]
                bad[rows] |= self.far[after[off]]
                return

    def _round(self, model: RowRegression, now: Floats, used: Flags) -> tuple[Flags, Floats, int]:
        """Outliers, values without them, and how many rows are by chance."""
        expected = np.full(self.values.shape, np.nan)
        expected[self.first + 1] = self._next(model, now, self.first)
        left = short_way(self.values - expected, self.turns)
        usual = self._usual(left, used)
        bad, fixed, chance = np.zeros(left.shape, dtype=np.bool_), self.values.copy(), 0
        sizes = np.abs(left)
        self.far = sizes > FAR * usual
        both = (sizes / usual).max(axis=1), (sizes / self.unit).max(axis=1)
        self.size = np.nan_to_num(np.stack(both, axis=1))
        rows = np.flatnonzero(self.leads & self.far.any(axis=1))
        self.lasting[:] = 0.0
        for length in range(1, LASTING + 1):
            rows = rows[~bad[rows].any(axis=1)]
            rows = rows[self._goes_on(rows, length)]
            if length > LENGTH:
                right, steps = self._explained(model, expected, usual, rows, length, 1.0)
                self.lasting += steps[0][0][right].sum(axis=0)
                continue
            found, other = (
                self._explained(model, expected, usual, rows, length, way) for way in (1.0, -1.0)
            )
            chance += int(other[0].sum())
            for step, (away, states) in enumerate(found[1]):
                at = rows[found[0]] + step
                bad[at], fixed[at] = away[found[0]], states[found[0]]
        return bad, fixed, chance

    def _goes_on(self, rows: NDArray[np.int64], steps: int) -> Flags:
        """Whether so many rows follow each of some rows ``[k]``."""
        found = np.ones(len(rows), dtype=np.bool_)
        for step in range(steps):
            at = rows + step
            found &= (at < len(self.leads)) & self.leads[np.minimum(at, len(self.leads) - 1)]
        return found

    def _explained(
        self,
        model: RowRegression,
        expected: Floats,
        usual: Floats,
        rows: NDArray[np.int64],
        length: int,
        way: float,
    ) -> tuple[Flags, list[tuple[Flags, Floats]]]:
        """Which of some rows, as the first of so many outliers, explain the row after them.

        Args:
            model: What is expected.
            expected: Of each row, given the one before it ``[n, d]``.
            usual: Sizes of residuals ``[n, d]``.
            rows: The first ones ``[k]``.
            length: Outliers one after the other.
            way: 1, or -1 for mirrored values in place of what is expected.

        Returns:
            Which ``[k]``, and of each outlier which values are far ``[k, d]`` and the states
            without them ``[k, d]``.
        """
        wanted, steps = expected[rows], []
        sound = np.ones(len(rows), dtype=np.bool_)
        for step in range(length):
            at, seen = rows + step, self.values[rows + step]
            off = short_way(seen - wanted, self.turns)
            away = np.abs(off) > FAR * usual[at]
            sound &= away.any(axis=1)
            states = np.where(away, seen - off if way > 0 else seen + off, seen)
            steps.append((away, states))
            wanted = model(states, self.actions[at], self.agent[at])
        last = rows + length
        as_was = model(self.values[last - 1], self.actions[last - 1], self.agent[last - 1])
        after, before = (
            np.abs(short_way(self.values[last] - guess, self.turns)) / usual[last]
            for guess in (wanted, as_was)
        )
        without, as_it_was = after.max(axis=1), before.max(axis=1)
        follows = without < np.maximum(USUAL, LEFT * as_it_was)
        # What leaves hardly a trace in the next row is not contradicted by it: a pulse of a
        # kettle in a household's power, which has no memory.
        moved = np.abs(short_way(wanted - as_was, self.turns)) / self.unit
        distance = np.abs(short_way(self.values[last - 1] - steps[-1][1], self.turns)) / self.unit
        remembered = moved.max(axis=1) > MEMORY * distance.max(axis=1)
        return sound & follows & remembered & (as_it_was > FAR), steps

    def _next(self, model: RowRegression, states: Floats, rows: NDArray[np.int64]) -> Floats:
        return model(states[rows], self.actions[rows], self.agent[rows])

    def _usual(self, left: Floats, used: Flags) -> Floats:
        """Size of residuals that is usual where each row is ``[n, d]``."""
        size = np.abs(left)
        least = np.quantile(size[self.first[used] + 1], 0.683, axis=0)
        known = np.where(np.isnan(size), 0.0, size)
        shifts = [s for s in range(-AROUND, AROUND + 1) if abs(s) > 1]
        near = np.stack([np.roll(known, shift, axis=0) for shift in shifts])
        place = int(LARGE * (len(shifts) - 1))
        around = np.partition(near, place, axis=0)[place]
        rounding = ROUNDING * np.nanmax(np.abs(self.values), axis=0)
        floor = np.maximum(np.maximum(least, self.grid), rounding + 1e-300)
        return np.maximum(around, floor)


def _resolution(values: Floats) -> Floats:
    """Least difference of two values of columns that have few different ones ``[d]``, else 0."""
    found = np.zeros(values.shape[1])
    for column, own in enumerate(values.T):
        known = own[~np.isnan(own)]
        different = np.unique(known)
        if 1 < len(different) < len(known) / 2:
            found[column] = np.diff(different).min()
    return found
