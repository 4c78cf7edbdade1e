"""What became of a table's rows, in one line and in warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from persim_gym.progress import span

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
        closed: Days of the week without any row, which are not counted as time.
        outliers: State columns with values that contradict the rows before and after them, and how
            many; their rows were left out.
        outlier_agents: Agents with such values, and how many, the most first.
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
    closed: int = 0
    outliers: Mapping[str, int] = field(default_factory=dict)
    outlier_agents: Mapping[str, int] = field(default_factory=dict)

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
        found += self.about_strange()
        if self.still:
            found.append("the state never changes from one row to the next: nothing can be learned")
        if self.fixed:
            found.append(
                f"no agent's action ever changes ({some(self.fixed)}): what it does cannot be "
                "separated from what the agents are"
            )
        return found

    def about_strange(self) -> list[str]:
        """Which values were taken for glitches and outliers, and what to say if they are none."""
        found = []
        if self.glitches:
            found.append(
                "values that leap away and are back in the next row are left out as glitches of a "
                f"sensor: {_if_values(self.glitches)}"
            )
        if self.outliers:
            most, count = next(iter(self.outlier_agents.items()))
            alone, agents = len(self.outlier_agents) == 1, many(len(self.outlier_agents), "agent")
            whose = f"of {most!r}" if alone else f"of {agents}, the most ({count}) of {most!r}"
            found.append(
                "values that contradict the rows before and after them, or a circle on which the "
                "others lie, are left out as outliers, "
                f"{whose}: {_if_values(self.outliers)}"
            )
        return found

    def __str__(self) -> str:
        """One line."""
        parts = [
            f"{many(self.rows, 'row')} of {many(self.agents, 'agent')}: "
            f"{many(self.transitions, 'transition')} in "
            f"{many(self.trajectories, 'trajectory')}, median step {self._time(self.step)}"
        ]
        low, high = self.steps
        if high > (1 + UNEVEN) * self.step or low * (1 + UNEVEN) < self.step:
            parts.append(
                f"steps of {self._time(low)} to {self._time(high)} all count as one: bring the "
                "rows to a grid where that matters"
            )
        if self.closed:
            one = self.closed == 1
            days = (
                "a day of the week that never has" if one else "2 days of the week that never have"
            )
            parts.append(f"{days} a row {'is' if one else 'are'} not counted as time")
        if self.gaps:
            parts.append(
                f"split at {many(self.gaps, 'gap')} longer than {self._time(self.max_gap)}"
            )
        if self.missing:
            parts.append(f"{many(self.missing, 'row')} with a missing value left out")
        if self.glitches:
            parts.append(f"{many(self.glitch_rows, 'row')} with a sensor's glitch left out")
        if self.outliers:
            parts.append(f"{many(sum(self.outliers.values()), 'value')} left out as outliers")
        if self.lone_rows:
            parts.append(f"{many(self.lone_rows, 'row')} without a neighbour left out")
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


def _if_values(counts: Mapping[str, int]) -> str:
    """Counts by column, and what to say if they are values."""
    each = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
    declared = ", ".join(f"{name!r}: (None, None)" for name in counts)
    return f"{each}; if they are values, say what is possible with bounds={{{declared}}}"


def many(count: int, what: str) -> str:
    """``"1 row"``, ``"2 rows"``, ``"2 trajectories"``."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else several}"


def some(names: Sequence[str]) -> str:
    """The first five names for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(each) for each in names[:5]) + more
