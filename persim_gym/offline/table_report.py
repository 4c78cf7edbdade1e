"""What became of a table that was read, for whoever has to know what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.table_rows import some
from persim_gym.progress import span

#: Steps that are so many times as long as the median, or as short, are said.
UNEVEN = 1.2


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
        constant: State columns that never change.
        actions: Categories of discrete actions in the order of their indices; empty for others.
        untried: Those of them that were never taken: nothing can be known of them.
        dates: Whether times are dates.
        counted_off: Whether discrete actions are numbers, and nobody has said that they are.
        steps: The shortest and the longest time of a step: each is one step all the same.
        begins: Row of the table, from 0 on, in which each transition begins ``[T]``: by it a
            column that is no part of the transitions is read beside them.
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
    constant: tuple[str, ...]
    actions: tuple[str, ...]
    untried: tuple[str, ...]
    dates: bool = False
    counted_off: bool = False
    steps: tuple[float, float] = (0.0, 0.0)
    begins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def _time(self, value: float) -> str:
        return span(value) if self.dates else f"{value:g}"

    def about_actions(self) -> str:
        """Which discrete actions there are, and what to say if they are none."""
        remedy = " (if they are amounts, say discrete_actions=False)" if self.counted_off else ""
        return f"discrete actions: {some(self.actions)}{remedy}"

    def __str__(self) -> str:
        """One line."""
        parts = [
            f"{_many(self.rows, 'row')} of {_many(self.agents, 'agent')}: "
            f"{_many(self.transitions, 'transition')} in "
            f"{_many(self.trajectories, 'trajectory')}, median step {self._time(self.step)}"
        ]
        low, high = self.steps
        if high > UNEVEN * self.step or low * UNEVEN < self.step:
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
        if self.lone_rows:
            parts.append(f"{_many(self.lone_rows, 'row')} without a neighbour left out")
        if self.dropped_agents:
            parts.append(f"agents without a step left out: {some(self.dropped_agents)}")
        if self.constant:
            parts.append(f"state columns that never change: {some(self.constant)}")
        if self.actions:
            parts.append(self.about_actions())
        if self.untried:
            parts.append(f"never taken: {some(self.untried)}")
        return "; ".join(parts)


def _many(count: int, what: str) -> str:
    """``"1 row"``, ``"2 rows"``, ``"2 trajectories"``."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else several}"
