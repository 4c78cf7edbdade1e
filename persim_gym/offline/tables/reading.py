"""Tables as data: rows of observations with their agent and time, read as transitions.

A row is an observation at a time: the state of the agent then, the action taken there, and the
reward of the step that this action began. The last row of a trajectory closes it: it has no next
state, so its action and reward are not used and may be empty. A row that is ``terminated`` holds
the state in which the episode ended.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.offline.angles import declared_angles
from persim_gym.offline.arrays import called
from persim_gym.offline.declared import declare
from persim_gym.offline.tables.columns import Column
from persim_gym.offline.tables.names import ColumnNames, source_of
from persim_gym.offline.tables.report import TableReport, off_the_grid
from persim_gym.offline.tables.rows import Handling, OrderedRows, fixed_in_agents
from persim_gym.offline.tables.sources import Name, read_source, stem
from persim_gym.offline.tables.strange import Strange, by_agent, counted
from persim_gym.offline.transitions import NO_ACTION, Transitions

_LOG = logging.getLogger(__name__)

#: What can be done to agents to which nothing is done.
NOTHING = "none"


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
    bounds: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    decimal: str | None = None,
    name: str | None = None,
) -> Transitions:
    """Read a table of observations as transitions; the order of its rows does not matter.

    Args:
        path_or_frame: A ``.parquet``, ``.csv`` or ``.tsv`` file (``.csv.gz`` too) with commas,
            semicolons or tabs between columns, a folder of Parquet files, a pandas DataFrame, or a
            table of another library (polars, lazy or not, pyarrow, or anything with
            ``to_pandas()``). Columns are named by text, whole numbers, or tuples where they have
            several levels; levels of a DataFrame's index that have a name count as columns.
        agent: Column of the agent's id. Text stays as it is, in files too (``01`` is not ``1``),
            whole numbers are exact; dates, UUIDs and bytes are read as text. Agents are numbered
            in the order of their ids (``"p2"`` before ``"p10"``), which are the result's
            ``agent_names``.
        state: Columns of the state, numbers; the observation's coordinates in this order.
        action: Columns of the action taken in the row's state: numbers, or one column of
            categories. An empty list where nothing is done: agents then go on by themselves.
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
        bounds: Least and largest possible values of state columns, ``{"ferritin": (0, None)}``:
            predictions and intervals stay within. Without, a column of one sign in all rows is
            taken to keep it; ``(None, None)`` says that it need not. Of a column that is named
            here, all values count as they are. Else numbers such as 999 or -9999, far from all
            other values, count as missing, and rows with a glitch or an outlier are left out: a
            value that leaps away and back as the column never does otherwise, or that contradicts
            the rows before and after it. A warning counts them.
        units: Units of columns, ``{"ferritin": "ug/L"}``, for axes and tables.
        decimal: Decimal sign of the numbers in a text file, ``"."`` or ``","``. By default a comma
            where semicolons separate columns and numbers have one, else a point.
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
        bounds=bounds,
        units=units,
        decimal=decimal,
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
    bounds: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    decimal: str | None = None,
    name: str | None = None,
) -> tuple[Transitions, TableReport]:
    """:func:`read_table`, with a report of what was split and left out."""
    for label, value in (("missing", missing), ("short", short)):
        if value not in ("error", "drop"):
            raise ValueError(f"{label} must be 'error' or 'drop', got {value!r}")
    if decimal is not None:
        checks.one_of("decimal", decimal, (".", ","))
    named = ColumnNames.named(
        agent=agent, state=state, action=action, time=time, reward=reward,
        terminated=terminated, episode=episode, step=step, discrete=discrete_actions,
    )  # fmt: skip
    turning, circles = declared_angles(angles, named.state)
    name = _task_name(path_or_frame, name)
    ids = [agent] if episode is None else [agent, episode]
    labels = named.used[len(named.used) - len(named.action) :]
    table = read_source(path_or_frame, named.used, ids, labels, decimal)
    if not len(table.frame):
        raise ValueError("the table has no rows")
    rows = OrderedRows(table, named.agent, named.order, named.episode, missing == "drop")
    found = _read(rows, named, discrete_actions, max_gap, bounds, turning)
    kept, dropped = rows.agents_with_steps(found.link, short)
    if not found.labels:
        _check_varied(found)
    transitions = _transitions(rows, named, found, kept, name)
    transitions = declare(replace(transitions, angles=turning, circles=circles), bounds, units)
    ends = {  # by them a table is read again: values of these columns count as they are
        named.state[column]: [end if math.isfinite(end) else None for end in pair]
        for column, *pair in transitions.bounds
    }
    source = source_of(
        path_or_frame, named, found.typical, time is None, rows.dates, missing=missing, short=short,
        bounds=ends or None, angles=angles, max_gap=None if max_gap is None else found.longest,
        discrete_actions=bool(found.labels) if named.action else None, decimal=decimal,
    )  # fmt: skip
    report = _report(rows, named, found, transitions, dropped, len(table.frame), max_gap is None)
    _LOG.info("%s: %s", name, report)
    for text in report.warnings():
        warnings.warn(f"{name}: {text}", stacklevel=3)
    said = [report.about_actions()] if report.counted_off else []
    said += report.about_strange()
    if said:
        source["notes"] = said
    return replace(transitions, source=source), report


@dataclass(frozen=True, slots=True)
class _Found:
    """What the rows of a table hold, and which of them have a next one.

    Attributes:
        obs: States ``[n, d]``.
        action: ``[n]`` of categories, or ``[n, a]``.
        reward: ``[n]``.
        ended: Rows in which an episode has ended ``[n]``.
        link: Rows with a next one ``[n]``: those of which a step begins.
        labels: The categories of discrete actions.
        counted_off: Whether discrete actions are numbers, and it was not said that they are.
        columns: The columns of the actions.
        missing: Rows with a missing value ``[n]``.
        strange: Values of the states that are none.
        gaps: Trajectories that a gap has ended.
        typical: Median step.
        longest: The longest step that is no gap.
    """

    obs: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[np.float64]
    ended: NDArray[np.bool_]
    link: NDArray[np.bool_]
    labels: tuple[str, ...]
    counted_off: bool
    columns: list[Column]
    missing: NDArray[np.bool_]
    strange: Strange
    gaps: int
    typical: float
    longest: float


def _read(
    rows: OrderedRows,
    named: ColumnNames,
    discrete: bool | Sequence[Any] | None,
    max_gap: Any,
    bounds: Mapping[str, Any] | None,
    turning: Sequence[tuple[int, float]],
) -> _Found:
    states = [rows.column(c) for c in named.state]
    obs: NDArray[Any] = np.stack([column.numbers() for column in states], axis=1)
    bad = rows.refuse_missing(*states)
    declared = {called(name) for name in (bounds if isinstance(bounds, Mapping) else ())}
    for column, values in zip(states, obs.T, strict=True):
        if column.name not in declared:
            bad |= rows.refuse_codes(column, values)
    ended = np.zeros(len(rows), dtype=np.bool_)
    if named.terminated is not None:
        flag = rows.column(named.terminated)
        bad |= rows.refuse_missing(flag)
        ended = flag.flags()
    rows.check_ends(ended, named.terminated)
    link = rows.links(max_gap, bad, ended)[0]
    # The last row of a trajectory needs neither action nor reward: only rows with a next one do.
    columns = [rows.column(c) for c in named.action]
    values, labels = _actions(columns, discrete, len(rows))
    acted = np.asarray(values, dtype=np.float64).reshape(len(rows), -1)
    known = np.where(bad[:, None], np.nan, obs.astype(np.float64))  # codes are no values
    strange = Strange.of(
        known, link[:-1], acted, rows.time, rows.agent, turning,
        [column.name in declared for column in states],
    )  # fmt: skip
    link, gaps, typical, longest = rows.links(max_gap, bad | strange.rows, ended)
    unknown = rows.refuse_missing(*columns, among=link)
    rewards = np.zeros(len(rows))
    if named.reward is not None:
        gained = rows.column(named.reward)
        rewards = gained.numbers()
        unknown |= rows.refuse_missing(gained, among=link)
    link &= ~unknown
    counted_off = bool(labels and columns) and discrete is None and columns[0].holds_numbers()
    return _Found(
        obs, values, rewards, ended, link, labels, counted_off, columns, bad | unknown, strange,
        gaps, typical, longest,
    )  # fmt: skip


def _transitions(
    rows: OrderedRows, named: ColumnNames, found: _Found, kept: NDArray[np.int64], name: str
) -> Transitions:
    first = np.flatnonzero(found.link)
    breaks = np.diff(first, prepend=first[0] - 2) > 1
    last_of = np.append(breaks[1:], True)
    terminal = found.ended[first + 1]
    renumbered = np.cumsum(np.isin(np.arange(len(rows.names)), kept)) - 1
    action = found.action[first]
    return Transitions(
        agent=renumbered[rows.agent[first]],
        obs=found.obs[first],
        action=action if found.labels else action.astype(np.float32),
        next_obs=found.obs[first + 1],
        reward=found.reward[first],
        terminated=terminal,
        truncated=last_of & ~terminal,
        episode=np.cumsum(breaks) - 1,
        num_agents=len(kept),
        task_name=name,
        dataset_id=name,
        agent_names=tuple(rows.names[kept].tolist()),
        obs_names=named.state,
        action_names=named.action or (NO_ACTION,),
        action_labels=found.labels or None,
    )


def _report(
    rows: OrderedRows,
    named: ColumnNames,
    found: _Found,
    transitions: Transitions,
    dropped: tuple[str, ...],
    count: int,
    usual_gap: bool,
) -> TableReport:
    first = np.flatnonzero(found.link)
    in_use = found.link.copy()
    in_use[first + 1] = True
    begin, after = found.obs[first], found.obs[first + 1]
    constant = (begin == begin[0]).all(0) & (after == begin[0]).all(0)
    taken, ahead = found.action[first], rows.time[first + 1] - rows.time[first]
    own = fixed_in_agents(begin, transitions.agent) & (begin == after).all(0)
    acted = fixed_in_agents(taken.reshape(len(first), -1), transitions.agent)
    words = [*named.state, *(() if found.labels else named.action), named.terminated]
    between = np.diff(rows.time)[rows.same]
    uneven = off_the_grid(between, found.typical)
    return TableReport(
        rows=count,
        agents=transitions.num_agents,
        trajectories=len(transitions.starts),
        transitions=len(transitions),
        step=found.typical,
        max_gap=found.longest,
        gaps=found.gaps,
        missing=rows.dropped + int(found.missing.sum()),
        lone_rows=int((~in_use & ~found.missing & ~found.strange.rows).sum()),
        dropped_agents=dropped,
        glitches=counted(found.strange.glitches, named.state),
        glitch_rows=int(found.strange.glitches.any(axis=1).sum()),
        outliers=counted(found.strange.outliers, named.state),
        outlier_agents=by_agent(found.strange.outliers, rows.agent, rows.names.tolist()),
        constant=tuple(c for c, same in zip(named.state, constant, strict=True) if same),
        actions=found.labels if named.action else (),
        untried=tuple(one for k, one in enumerate(found.labels) if not (taken == k).any()),
        dates=rows.dates,
        closed=rows.closed,
        counted_off=found.counted_off,
        steps=(float(ahead.min()), float(ahead.max())),
        begins=rows.number[first],
        covariates=tuple(c for c, same in zip(named.state, own, strict=True) if same),
        fixed=tuple(c for c, same in zip(named.action, acted, strict=False) if same),
        worded=tuple(c for c in words if c is not None and rows.column(c).says() is not None),
        lacking=dict(rows.lacking),
        uneven=int(uneven.sum()) if usual_gap else 0,
        between=len(between),
        used=int(in_use.sum()),
        still=bool((begin == after).all()),
    )


def _task_name(source: Any, name: str | None) -> str:
    if name is None:
        name = stem(source) if isinstance(source, (str, Path)) else "table"
        # A file that happens to be called so need not be of this package's task.
        return f"{name}-table" if name in SUITES else name
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be a word, got {name!r}")
    return name


def _actions(
    columns: Sequence[Column], discrete: bool | Sequence[Any] | None, count: int
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Discrete actions ``[n]`` with their names, or continuous ones ``[n, a]`` and no names."""
    if not columns:
        return np.zeros(count, dtype=np.int64), (NOTHING,)
    if isinstance(discrete, str):
        raise TypeError(f"discrete_actions must be True, False or a list, got {discrete!r}")
    if len(columns) == 1 and (found := columns[0].categories(discrete)) is not None:
        return found
    return np.stack([column.numbers() for column in columns], axis=1), ()


def _check_varied(found: _Found) -> None:
    taken = found.action[found.link].astype(np.float32)
    for column, own in zip(found.columns, taken.T, strict=True):
        if len(own) and (own == own[0]).all():
            raise ValueError(
                f"column {column.name!r}: the action is {own[0]:g} in every row, so that nothing "
                "can be learned of it; leave the column out, or for data without any choice give "
                "discrete_actions=True"
            )
