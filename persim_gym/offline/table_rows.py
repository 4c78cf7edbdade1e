"""The rows of a table in their order: whose, which follow each other; and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.missing_codes import missing_codes
from persim_gym.offline.sources import Name, Table, called, read_source
from persim_gym.offline.table_columns import Column
from persim_gym.offline.values import seconds
from persim_gym.progress import span

#: Without ``max_gap`` a trajectory ends where the time step is so many times the median.
GAP = 1.5

Handling = Literal["error", "drop"]


def _missing(column: Column, lost: NDArray[np.bool_]) -> str:
    """What to say of the first of the rows in which a column has no value."""
    more = int(lost.sum()) - 1
    beside = f", as in {_many(more, 'other row')} of {len(lost)}" if more else ""
    return (
        f"{column.where(int(np.argmax(lost)))}: the value is missing{beside}; fill it in, or leave "
        "such rows out with missing='drop'"
    )


class OrderedRows:
    """The rows of a table in the order of agent, episode and time.

    Args:
        table: The table.
        agent: Column of the agent.
        order: Column of time or step.
        episode: Column of the episode.
        drop: Whether rows with a missing value are left out.

    Raises:
        ValueError: If a key is missing or invalid, or a time is there twice.
    """

    def __init__(
        self, table: Table, agent: str, order: str, episode: str | None, drop: bool
    ) -> None:
        self.drop = drop
        self.order = order
        self.lacking: dict[str, int] = {}  # rows without a value, by column
        self.has_episodes = episode is not None
        ids = [agent] if episode is None else [agent, episode]
        numbers = np.arange(len(table.frame))
        lost = np.zeros(len(numbers), dtype=np.bool_)
        for key in (*ids[:1], order, *ids[1:]):
            column = Column(table, key, numbers, key=key in ids)
            if column.missing.any() and not drop:
                raise ValueError(_missing(column, column.missing))
            lost |= column.missing
        self.dropped = int(lost.sum())
        table, numbers = replace(table, frame=table.frame.loc[~lost]), numbers[~lost]
        if not len(numbers):
            raise ValueError("no row of the table names agent and time")
        self.names, agents = Column(table, agent, numbers, key=True).identifiers()
        own = self.names[agents]
        times, self.dates = Column(table, order, numbers, own).times()
        episodes = np.zeros(len(numbers), dtype=np.int64)
        if episode is not None:
            episodes = Column(table, episode, numbers, own, key=True).identifiers()[1]
        sort = np.lexsort((times, episodes, agents))
        self.table = replace(table, frame=table.frame.iloc[sort])
        self.number, self.agent = numbers[sort], agents[sort]
        self.episode, self.time = episodes[sort], times[sort]
        self.same = (np.diff(self.agent) == 0) & (np.diff(self.episode) == 0)
        twice = self.same & (np.diff(self.time) == 0)
        if twice.any():
            row = int(np.argmax(twice))
            value = self.table.frame[order].iloc[row]
            raise ValueError(
                f"agent {str(self.names[self.agent[row]])!r} has two rows with {order!r} = {value} "
                f"(rows {self.number[row]} and {self.number[row + 1]}): keep one of them"
                + ("" if episode else ", or name the column that tells episodes apart")
            )

    def __len__(self) -> int:
        return len(self.number)

    def column(self, name: str) -> Column:
        """A column in this order."""
        return Column(self.table, name, self.number, self.names[self.agent])

    def refuse_missing(
        self, *columns: Column, among: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Rows in which one of the columns has no value; where rows may be dropped.

        Raises:
            ValueError: If there is one and they may not.
        """
        bad = np.zeros(len(self), dtype=np.bool_)
        for column in columns:
            lost = column.missing if among is None else column.missing & among
            if lost.any() and not self.drop:
                raise ValueError(_missing(column, lost))
            if lost.any():
                self.lacking[column.name] = int(lost.sum())
            bad |= lost
        return bad

    def refuse_codes(self, column: Column, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Rows in which a column holds a code for a missing value; where rows may be dropped.

        Raises:
            ValueError: If there is one and they may not.
        """
        found = missing_codes(values)
        if found.any() and not self.drop:
            row = int(np.argmax(found))
            others = values[~found & ~np.isnan(values)]
            raise ValueError(
                f"{column.where(row)}: {values[row]:.10g} is far from all other values "
                f"({others.min():g} to {others.max():g}) and is probably a code for a missing one; "
                "leave such rows out with missing='drop', or, if it is a value, say what is "
                f"possible with bounds={{{column.name!r}: (None, None)}}"
            )
        return found

    def check_ends(self, ended: NDArray[np.bool_], column: str | None) -> None:
        """Refuse a terminated row in the middle of an episode that has a name.

        Raises:
            ValueError: If there is one.
        """
        early = ended[:-1] & self.same
        if self.has_episodes and early.any():
            row = int(np.argmax(early))
            raise ValueError(
                f"column {column!r} of agent {str(self.names[self.agent[row]])!r}, row "
                f"{self.number[row]}: the episode goes on after it; a terminated row holds the "
                "state in which the episode ended, and is its last"
            )

    def links(
        self, max_gap: Any, bad: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], int, float, float]:
        """Which rows have a next one, gaps, the median step and the longest that is no gap."""
        ahead = np.diff(self.time)
        steps = ahead[self.same]
        typical = float(np.median(steps)) if len(steps) else 0.0
        longest = GAP * typical if max_gap is None else seconds(max_gap, self.dates)
        gap = self.same & (ahead > longest * (1 + 1e-9))
        link = np.append(self.same & ~gap & ~bad[:-1] & ~bad[1:] & ~ended[:-1], False)
        return link, int(gap.sum()), typical, longest

    def agents_with_steps(
        self, link: NDArray[np.bool_], short: Handling
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Agents with a step, and the names of those without.

        Raises:
            ValueError: If there are agents without, and they may not be dropped; or none with.
        """
        agents = np.unique(self.agent[link])
        if not len(agents):
            why = f"check the columns of agent and {self.order!r}, and max_gap"
            if self.lacking:
                each = (f"{name!r} in {count}" for name, count in self.lacking.items())
                why = (
                    f"values are missing ({', '.join(each)} of {len(self)} rows); fill them in, "
                    "or name columns that are known more often"
                )
            raise ValueError(f"no agent has two rows in sequence: {why}")
        without = np.setdiff1d(np.arange(len(self.names)), agents)
        names = tuple(str(self.names[k]) for k in without)
        if names and short == "error":
            raise ValueError(
                f"there are no two rows in sequence of agent {some(names)}, so no step to learn "
                "from: give more rows or a larger max_gap, or leave such agents out with "
                "short='drop'"
            )
        return agents, names


def labels_of(table: Any, column: Name, rows: NDArray[np.int64]) -> NDArray[Any]:
    """What a column holds in some rows of a table, as text ``[n]``.

    Args:
        table: Whatever :func:`~persim_gym.offline.read_table` takes.
        column: The column.
        rows: Rows ``[n]``, from 0 on.

    Raises:
        ValueError: If there is no such column, or a value is missing.
    """
    found = read_source(table, [column], [column], [])
    found = replace(found, frame=found.frame.iloc[rows])
    own = Column(found, called(column), rows, key=True)
    if own.missing.any():
        raise ValueError(f"{own.where(int(np.argmax(own.missing)))}: the value is missing")
    names, codes = own.identifiers()
    return np.asarray(names[codes])


def some(names: Sequence[str]) -> str:
    """The first five names for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(each) for each in names[:5]) + more


def fixed_in_agents(values: NDArray[Any], agent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Columns that never change within an agent, and differ between agents ``[k]``.

    Nothing is said of records of one step each.

    Args:
        values: ``[T, k]``.
        agent: Whose, agent after agent ``[T]``.
    """
    begins = np.flatnonzero(np.diff(agent, prepend=-1))
    steps = np.diff(np.append(begins, len(agent)))
    same = (values == np.repeat(values[begins], steps, axis=0)).all(0)
    return np.asarray(same & ~(values == values[0]).all(0) & ((steps > 1).mean() > 0.5))


#: Share of a step by which times may be off a regular grid.
UNEVEN = 0.2

#: What is warned of: a share of the times that are uneven, of the rows that are in no step; from
#: so many on.
UNEVEN_SHARE, LOST_SHARE, MANY = 0.1, 1 / 3, 10

#: Where the documentation says what to do about both.
HOW = "see 'Irregular times' in docs/tables.md"


def off_the_grid(between: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Which times between rows are no whole steps; where a row is missing there are two of them."""
    whole = np.maximum(np.rint(between / step), 1)
    return np.asarray(np.abs(between - whole * step) > UNEVEN * step)


@dataclass(frozen=True, slots=True)
class TableReport:
    """What became of a table.

    Attributes:
        rows: Rows of the table.
        agents: Agents with a transition.
        trajectories: Unbroken pieces of at least two rows.
        transitions: Steps from a row to the next.
        step: Median time between an agent's rows; in seconds if times are dates.
        max_gap: Steps longer than this end a trajectory.
        gaps: Trajectories that ended so.
        missing: Rows with a missing value that were dropped, or whose step was.
        lone_rows: Rows without a neighbour, which are in no transition.
        dropped_agents: Agents without a transition.
        glitches: State columns with values that leap away and back, and how many.
        glitch_rows: Rows with such a value, which were left out.
        constant: State columns that never change.
        actions: Categories of discrete actions in the order of their indices; empty for others.
        untried: Those of them that were never taken: nothing can be known of them.
        dates: Whether times are dates.
        counted_off: Whether discrete actions are numbers, and it was not said that they are.
        steps: The shortest and the longest time of a step: each is one step all the same.
        begins: Row of the table, from 0 on, in which each transition begins ``[T]``: by it a
            column that is no part of the transitions is read beside them.
        covariates: State columns that differ between agents and never change within one.
        fixed: Columns of the action of which the same holds.
        worded: Columns whose words of yes and no were read as 1 and 0.
        lacking: Rows without a value, by column.
        uneven: Times between an agent's rows that are no whole steps; 0 if it was said what a gap
            is.
        between: All times between an agent's rows.
        used: Rows in a transition.
        still: Whether no state column changes within an agent.
    """

    rows: int
    agents: int
    trajectories: int
    transitions: int
    step: float
    max_gap: float
    gaps: int
    missing: int
    lone_rows: int
    dropped_agents: tuple[str, ...]
    glitches: Mapping[str, int]
    glitch_rows: int
    constant: tuple[str, ...]
    actions: tuple[str, ...]
    untried: tuple[str, ...]
    dates: bool = False
    counted_off: bool = False
    steps: tuple[float, float] = (0.0, 0.0)
    begins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    covariates: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    worded: tuple[str, ...] = ()
    lacking: Mapping[str, int] = field(default_factory=dict)
    uneven: int = 0
    between: int = 0
    used: int = 0
    still: bool = False

    def _time(self, value: float) -> str:
        return span(value) if self.dates else f"{value:g}"

    def about_actions(self) -> str:
        """Which discrete actions there are, and what to say if they are none."""
        remedy = " (if they are amounts, say discrete_actions=False)" if self.counted_off else ""
        return f"discrete actions: {some(self.actions)}{remedy}"

    def warnings(self) -> list[str]:
        """What makes a simulator of the table worth less than its rows, and the remedy."""
        found = []
        if self.uneven >= MANY and self.uneven > UNEVEN_SHARE * self.between:
            found.append(
                f"{self.uneven} of {self.between} times between an agent's rows are no whole steps "
                f"of {self._time(self.step)}, their median: all steps count as equally long, and a "
                f"time above {self._time(self.max_gap)} ends a trajectory; bring the rows to a "
                f"regular grid first ({HOW}), or say with max_gap what a gap is"
            )
        lost = self.rows - self.used
        if self.lacking and max(MANY, LOST_SHARE * self.rows) < lost < 2 * self.missing:
            each = ", ".join(f"{name!r} in {count}" for name, count in self.lacking.items())
            found.append(
                f"only {self.used} of {self.rows} rows are part of a step, for values are missing "
                f"({each}): fill them in, or leave out what is seldom known ({HOW})"
            )
        if self.glitches:
            found.append(self.about_glitches())
        if self.still:
            found.append("the state never changes from one row to the next: nothing can be learned")
        if self.fixed:
            found.append(
                f"no agent's action ever changes ({some(self.fixed)}): what it does cannot be "
                "separated from what the agents are"
            )
        return found

    def about_glitches(self) -> str:
        """Which values were taken for a sensor's glitches, and what to say if they are none."""
        counts = ", ".join(f"{count} of {name!r}" for name, count in self.glitches.items())
        column = next(iter(self.glitches))
        return (
            f"values that leap away and are back in the next row are left out as glitches of a "
            f"sensor: {counts}; if they are values, say what is possible with "
            f"bounds={{{column!r}: (None, None)}}"
        )

    def __str__(self) -> str:
        """One line."""
        parts = [
            f"{_many(self.rows, 'row')} of {_many(self.agents, 'agent')}: "
            f"{_many(self.transitions, 'transition')} in "
            f"{_many(self.trajectories, 'trajectory')}, median step {self._time(self.step)}"
        ]
        low, high = self.steps
        if high > (1 + UNEVEN) * self.step or low * (1 + UNEVEN) < self.step:
            parts.append(
                f"steps of {self._time(low)} to {self._time(high)} all count as one: bring the "
                "rows to a grid where that matters"
            )
        if self.gaps:
            parts.append(
                f"split at {_many(self.gaps, 'gap')} longer than {self._time(self.max_gap)}"
            )
        if self.missing:
            parts.append(f"{_many(self.missing, 'row')} with a missing value left out")
        if self.glitches:
            parts.append(f"{_many(self.glitch_rows, 'row')} with a sensor's glitch left out")
        if self.lone_rows:
            parts.append(f"{_many(self.lone_rows, 'row')} without a neighbour left out")
        if self.dropped_agents:
            parts.append(f"agents without a step left out: {some(self.dropped_agents)}")
        if self.constant:
            parts.append(f"state columns that never change: {some(self.constant)}")
        if self.covariates:
            parts.append(
                f"state columns that never change within an agent: {some(self.covariates)} (a "
                "simulator of one's own needs none of them: leave them out)"
            )
        if self.worded:
            parts.append(f"yes and no read as 1 and 0: {some(self.worded)}")
        if self.actions:
            parts.append(self.about_actions())
        if self.untried:
            parts.append(f"never taken: {some(self.untried)}")
        return "; ".join(parts)


def _many(count: int, what: str) -> str:
    """``"1 row"``, ``"2 rows"``, ``"2 trajectories"``."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else several}"
