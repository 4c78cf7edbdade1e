"""Tables as data: rows of observations with their agent and time, read as transitions.

A row is an observation at a time: the state of the agent then, the action taken there, and the
reward of the step that this action began. The last row of a trajectory closes it: it has no next
state, so its action and reward are not used and may be empty. A row that is ``terminated`` holds
the state in which the episode ended.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import SUITES
from persim_gym.offline.angles import declared_angles
from persim_gym.offline.sources import Name, called, read_source, stem
from persim_gym.offline.table_columns import Column
from persim_gym.offline.table_rows import Handling, Rows, some
from persim_gym.offline.transitions import Transitions

_LOG = logging.getLogger(__name__)


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

    def __str__(self) -> str:
        """One line for people."""
        parts = [
            f"{self.rows} rows of {self.agents} agents: {self.transitions} transitions in "
            f"{self.trajectories} trajectories, median step {self.step:g}"
        ]
        if self.gaps:
            parts.append(f"{self.gaps} gaps longer than {self.max_gap:g} end one")
        if self.missing:
            parts.append(f"{self.missing} rows with a missing value left out")
        if self.lone_rows:
            parts.append(f"{self.lone_rows} rows without a neighbour left out")
        if self.dropped_agents:
            parts.append(f"agents without a step left out: {some(self.dropped_agents)}")
        if self.constant:
            parts.append(f"state columns that never change: {some(self.constant)}")
        if self.actions:
            parts.append(f"discrete actions: {some(self.actions)}")
        if self.untried:
            parts.append(f"never taken: {some(self.untried)}")
        return "; ".join(parts)


def read_table(
    path_or_frame: Any,
    *,
    agent: Name,
    state: Name | Sequence[Name],
    action: Name | Sequence[Name],
    time: Name | None = None,
    reward: Name | None = None,
    terminated: Name | None = None,
    episode: Name | None = None,
    step: Name | None = None,
    discrete_actions: bool | Sequence[Any] | None = None,
    max_gap: Any = None,
    missing: Handling = "error",
    short: Handling = "error",
    angles: Sequence[Any] = (),
    name: str | None = None,
) -> Transitions:
    """Read a table of observations as transitions; the order of its rows does not matter.

    Args:
        path_or_frame: A ``.parquet``, ``.csv`` or ``.tsv`` file (``.csv.gz`` too), a folder of
            Parquet files, a pandas DataFrame, or a table of another library (polars, lazy or
            not, pyarrow, or anything with ``to_pandas()``). Columns are named by text, whole
            numbers, or tuples where they have several levels; levels of a DataFrame's index that
            have a name count as columns.
        agent: Column of the agent's id. Text stays as it is, in files too (``01`` is not ``1``),
            whole numbers are exact; dates, UUIDs and bytes are read as text. Agents are numbered
            in the order of their ids (``"p2"`` before ``"p10"``), which are the result's
            ``agent_names``.
        state: Columns of the state, numbers; the observation's coordinates in this order.
        action: Columns of the action taken in the row's state: numbers, or one column of
            categories.
        time: Column of times, numbers or dates. This or ``step`` is needed.
        reward: Column of the reward of the step that begins in the row; without it rewards are 0.
        terminated: Column of yes and no: the row's state has ended its episode. It is the last
            row of a trajectory.
        episode: Column of an agent's episodes, if it has several.
        step: Column of whole-numbered steps, instead of ``time``.
        discrete_actions: ``True`` to count off the values of the one action column, ``False`` to
            take numbers as they are, or the categories in order. By default text, booleans,
            categories and whole numbers of at most 10 different values are discrete, and decimal
            numbers are not.
        max_gap: Longest time from a row to the next; a longer one ends the trajectory. In the unit
            of ``time`` or ``step``; for dates a ``timedelta`` or seconds. By default one and a half
            times the median.
        missing: ``"error"`` refuses missing values; ``"drop"`` leaves their rows out and ends the
            trajectory there.
        short: ``"error"`` refuses agents without two rows in sequence; ``"drop"`` leaves them out.
        angles: State columns that are angles: names of columns in radians, ``("heading", 360)``
            where a full turn is another number, pairs ``("cosine", "sine")``. Those that wrap, and
            pairs on a circle, are found without.
        name: The task's name; by default the file's. The name of one of this package's tasks says
            that the data are of that task.

    Returns:
        Transitions, agent after agent in the order of time. The last one of a trajectory is
        truncated if it is not terminated. A state whose changes are lost in float32 is a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If pandas, or pyarrow for Parquet, is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument or the table is invalid; the message names agent, column and row.
    """
    return read_table_report(
        path_or_frame,
        agent=agent,
        state=state,
        action=action,
        time=time,
        reward=reward,
        terminated=terminated,
        episode=episode,
        step=step,
        discrete_actions=discrete_actions,
        max_gap=max_gap,
        missing=missing,
        short=short,
        angles=angles,
        name=name,
    )[0]


def read_table_report(
    path_or_frame: Any,
    *,
    agent: Name,
    state: Name | Sequence[Name],
    action: Name | Sequence[Name],
    time: Name | None = None,
    reward: Name | None = None,
    terminated: Name | None = None,
    episode: Name | None = None,
    step: Name | None = None,
    discrete_actions: bool | Sequence[Any] | None = None,
    max_gap: Any = None,
    missing: Handling = "error",
    short: Handling = "error",
    angles: Sequence[Any] = (),
    name: str | None = None,
) -> tuple[Transitions, TableReport]:
    """:func:`read_table`, with a report of what was split and left out."""
    states, actions = _several("state", state), _several("action", action)
    own = [called(column) for column in states + actions]
    if twice := sorted({column for column in own if own.count(column) > 1}):
        raise ValueError(f"column {twice[0]!r} is named twice among state and action")
    turning, circles = declared_angles(angles, own[: len(states)])
    for label, value in (("missing", missing), ("short", short)):
        if value not in ("error", "drop"):
            raise ValueError(f"{label} must be 'error' or 'drop', got {value!r}")
    if (time is None) == (step is None):
        raise ValueError(
            "give the column that orders an agent's rows, either time= or step=, and not both"
            if time is not None
            else "give the column that orders an agent's rows: time= or step="
        )
    if len(actions) > 1 and discrete_actions not in (None, False):
        raise ValueError(
            f"discrete actions are one column, got {len(actions)}: "
            f"{', '.join(own[len(states) :])}; join them into one"
        )
    single = (agent, time if time is not None else step, episode, reward, terminated)
    used = [_checked(column) for column in single if column is not None]
    who, order, part, gain, end = (None if column is None else called(column) for column in single)
    assert who is not None
    assert order is not None
    name = _task_name(path_or_frame, name)
    ids = [agent] if episode is None else [agent, episode]
    table = read_source(path_or_frame, [*used, *states, *actions], ids, actions)
    if not len(table.frame):
        raise ValueError("the table has no rows")
    rows = Rows(table, who, order, part, missing == "drop")
    state_columns = [rows.column(c) for c in own[: len(states)]]
    obs: NDArray[Any] = np.stack([column.numbers() for column in state_columns], axis=1)
    bad = rows.refuse_missing(*state_columns)
    ended = np.zeros(len(rows), dtype=np.bool_)
    if end is not None:
        flag = rows.column(end)
        bad |= rows.refuse_missing(flag)
        ended = flag.flags()
    rows.check_ends(ended, end)
    link, gaps, typical, longest = rows.links(max_gap, bad, ended)
    # The last row of a trajectory needs neither action nor reward: only rows with a next one do.
    action_columns = [rows.column(c) for c in own[len(states) :]]
    values, labels = _actions(action_columns, discrete_actions)
    unknown = rows.refuse_missing(*action_columns, among=link)
    rewards = np.zeros(len(rows))
    if gain is not None:
        gained = rows.column(gain)
        rewards = gained.numbers()
        unknown |= rows.refuse_missing(gained, among=link)
    link &= ~unknown
    people, dropped = rows.people(link, short)
    if not labels:
        _check_varied(values, link, action_columns)
    first = np.flatnonzero(link)
    breaks = np.diff(first, prepend=first[0] - 2) > 1
    last_of = np.append(breaks[1:], True)
    terminal = ended[first + 1]
    renumbered = np.cumsum(np.isin(np.arange(len(rows.names)), people)) - 1
    transitions = Transitions(
        agent=renumbered[rows.agent[first]],
        obs=obs[first],
        action=values[first] if labels else values[first].astype(np.float32),
        next_obs=obs[first + 1],
        reward=rewards[first],
        terminated=terminal,
        truncated=last_of & ~terminal,
        episode=np.cumsum(breaks) - 1,
        num_agents=len(people),
        task_name=name,
        dataset_id=name,
        agent_names=tuple(rows.names[people].tolist()),
        obs_names=tuple(own[: len(states)]),
        action_names=tuple(own[len(states) :]),
        action_labels=labels or None,
        angles=turning,
        circles=circles,
    )
    in_use = link.copy()
    in_use[first + 1] = True
    constant = (obs[first] == obs[first[0]]).all(0) & (obs[first + 1] == obs[first[0]]).all(0)
    report = TableReport(
        rows=len(table.frame),
        agents=len(people),
        trajectories=int(breaks.sum()),
        transitions=len(transitions),
        step=typical,
        max_gap=longest,
        gaps=gaps,
        missing=rows.dropped + int(bad.sum()) + int(unknown.sum()),
        lone_rows=int((~in_use & ~bad & ~unknown).sum()),
        dropped_agents=dropped,
        constant=tuple(c for c, same in zip(own, constant, strict=False) if same),
        actions=labels,
        untried=tuple(one for k, one in enumerate(labels) if not (values[first] == k).any()),
    )
    _LOG.info("%s: %s", name, report)
    return transitions, report


def _several(role: str, columns: Name | Sequence[Name]) -> list[Name]:
    """Columns named by one name or a sequence of them; a tuple is a sequence."""
    if isinstance(columns, (str, int, np.integer)) or columns is None:
        columns = [columns]
    names = [_checked(column) for column in columns]
    if not names:
        raise ValueError(f"name at least one column of the {role}")
    return names


def _checked(column: Any) -> Name:
    """A column's name.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(column, np.integer):
        return int(column)
    parts = column if isinstance(column, tuple) and column else (column,)
    if any(not isinstance(part, (str, int)) or isinstance(part, bool) for part in parts):
        raise TypeError(
            f"a column is named by a string or a whole number, or by a tuple of them where columns "
            f"have several levels, got {column!r}"
        )
    return column


def _task_name(source: Any, name: str | None) -> str:
    if name is None:
        name = stem(source) if isinstance(source, (str, Path)) else "table"
        # A file that happens to be called so need not be of this package's task.
        return f"{name}-table" if name in SUITES else name
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be a word, got {name!r}")
    return name


def _actions(
    columns: Sequence[Column], discrete: bool | Sequence[Any] | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Discrete actions ``[n]`` with their names, or continuous ones ``[n, a]`` and no names."""
    if isinstance(discrete, str):
        raise TypeError(f"discrete_actions must be True, False or a list, got {discrete!r}")
    if len(columns) == 1 and (found := columns[0].categories(discrete)) is not None:
        return found
    return np.stack([column.numbers() for column in columns], axis=1), ()


def _check_varied(
    values: NDArray[np.float64], link: NDArray[np.bool_], columns: Sequence[Column]
) -> None:
    for column, own in zip(columns, values[link].astype(np.float32).T, strict=True):
        if len(own) and (own == own[0]).all():
            raise ValueError(
                f"column {column.name!r}: the action is {own[0]:g} in every row, so that nothing "
                "can be learned of it; leave the column out, or for data without any choice give "
                "discrete_actions=True"
            )
