"""The rows of a table in their order: whose, and which follow each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.arrays import called
from persim_gym.offline.tables.columns import Column
from persim_gym.offline.tables.missing_codes import missing_codes
from persim_gym.offline.tables.report import many, some
from persim_gym.offline.tables.sources import Name, Table, read_source
from persim_gym.offline.tables.values import seconds

#: Without ``max_gap`` a trajectory ends where the time step is so many times the median.
GAP = 1.5

#: Seconds of a day, and weeks from which closed days are known.
DAY, WEEKS = 86_400.0, 3
#: Share of a day in which no row may fall, so that it is clear of which day each is.
PAUSE = 0.2

Handling = Literal["error", "drop"]


def _missing(column: Column, lost: NDArray[np.bool_]) -> str:
    """What to say of the first of the rows in which a column has no value."""
    more = int(lost.sum()) - 1
    beside = f", as in {many(more, 'other row')} of {len(lost)}" if more else ""
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
        self.closed = 0  # days of the week that are not counted
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
        """Which rows have a next one, gaps, the median step and the longest that is no gap.

        Where it is not said what a gap is, times become those of open days.
        """
        if max_gap is None and self.dates and not self.closed:
            self.time, self.closed = open_days(self.time, self.same)
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


def open_days(
    time: NDArray[np.float64], same: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], int]:
    """Times of daily rows without the days of the week that never have one: closed on Sundays.

    Args:
        time: Seconds ``[n]``, in order within each trajectory.
        same: Whether a row and the next one are of one trajectory ``[n - 1]``.

    Returns:
        The times, in which an open day follows the one before, and how many days of the week are
        closed: 0 where rows are not daily, and times stay as they are.
    """
    if not len(time) or np.ptp(time) < WEEKS * 7 * DAY:
        return time, 0
    # A day begins where the clock shows the longest time without any row.
    clock = np.sort(time / DAY % 1)
    pauses = np.diff(clock, append=clock[0] + 1)
    longest = int(np.argmax(pauses))
    day = np.floor(time / DAY - (clock[longest] + pauses[longest] / 2)).astype(np.int64)
    ahead = np.diff(day)[same]
    if pauses[longest] < PAUSE or not len(ahead) or ahead.min() < 1 or np.median(ahead) != 1:
        return time, 0
    day -= day.min()
    rows = np.bincount(day % 7, minlength=7)
    is_open = rows > 0
    closed = 7 - int(is_open.sum())
    if not 1 <= closed <= 2 or rows[is_open].min() < 0.3 * rows.max():
        return time, 0
    place = np.cumsum(is_open) - 1
    return time - DAY * (day - day // 7 * (7 - closed) - place[day % 7]), closed


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
