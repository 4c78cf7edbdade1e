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
from persim_gym.offline.table_columns import Column, as_frame, check_columns
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
    agent: str,
    state: str | Sequence[str],
    action: str | Sequence[str],
    time: str | None = None,
    reward: str | None = None,
    terminated: str | None = None,
    episode: str | None = None,
    step: str | None = None,
    discrete_actions: bool | Sequence[Any] | None = None,
    max_gap: Any = None,
    missing: Handling = "error",
    short: Handling = "error",
    angles: Sequence[Any] = (),
    name: str | None = None,
) -> Transitions:
    """Read a table of observations as transitions; the order of its rows does not matter.

    Args:
        path_or_frame: A ``.parquet`` or ``.csv`` file, a pandas DataFrame, or anything with
            ``to_pandas()`` (tables of polars and pyarrow).
        agent: Column of the agent's id, text or whole numbers. Agents are numbered in the order of
            their ids (``"p2"`` before ``"p10"``), which are the result's ``agent_names``, as text.
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
            categories and whole numbers of at most 10 different values are discrete.
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
        truncated if it is not terminated.

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
    agent: str,
    state: str | Sequence[str],
    action: str | Sequence[str],
    time: str | None = None,
    reward: str | None = None,
    terminated: str | None = None,
    episode: str | None = None,
    step: str | None = None,
    discrete_actions: bool | Sequence[Any] | None = None,
    max_gap: Any = None,
    missing: Handling = "error",
    short: Handling = "error",
    angles: Sequence[Any] = (),
    name: str | None = None,
) -> tuple[Transitions, TableReport]:
    """:func:`read_table`, with a report of what was split and left out."""
    states, actions = _several("state", state), _several("action", action)
    if twice := sorted({c for c in states + actions if (states + actions).count(c) > 1}):
        raise ValueError(f"column {twice[0]!r} is named twice among state and action")
    turning, circles = declared_angles(angles, states)
    for label, value in (("missing", missing), ("short", short)):
        if value not in ("error", "drop"):
            raise ValueError(f"{label} must be 'error' or 'drop', got {value!r}")
    if (time is None) == (step is None):
        raise ValueError(
            "give the column that orders an agent's rows, either time= or step=, and not both"
            if time
            else "give the column that orders an agent's rows: time= or step="
        )
    order = time if time is not None else step
    assert order is not None
    if len(actions) > 1 and discrete_actions not in (None, False):
        raise ValueError(
            f"discrete actions are one column, got {len(actions)}: {', '.join(actions)}; join "
            "them into one"
        )
    single = [
        column for column in (agent, order, episode, reward, terminated) if column is not None
    ]
    for column in single:
        if not isinstance(column, str):
            raise TypeError(f"a column is named by a string, got {column!r}")
    name = _task_name(path_or_frame, name)
    frame = as_frame(path_or_frame)
    check_columns(frame, [*single, *states, *actions])
    if not len(frame):
        raise ValueError("the table has no rows")
    rows = Rows(frame, agent, order, episode, missing == "drop")
    state_columns = [rows.column(c) for c in states]
    obs = np.stack([column.numbers() for column in state_columns], axis=1)
    bad = rows.refuse_missing(*state_columns)
    ended = np.zeros(len(rows), dtype=np.bool_)
    if terminated is not None:
        flag = rows.column(terminated)
        bad |= rows.refuse_missing(flag)
        ended = flag.flags()
    rows.check_ends(ended, terminated)
    link, gaps, typical, longest = rows.links(max_gap, bad, ended)
    # The last row of a trajectory needs neither action nor reward: only rows with a next one do.
    action_columns = [rows.column(c) for c in actions]
    values, labels = _actions(action_columns, discrete_actions)
    unknown = rows.refuse_missing(*action_columns, among=link)
    rewards = np.zeros(len(rows))
    if reward is not None:
        gained = rows.column(reward)
        rewards = gained.numbers()
        unknown |= rows.refuse_missing(gained, among=link)
    link &= ~unknown
    people, dropped = rows.people(link, short)
    _check_resolution(obs, link, state_columns)
    if not labels:
        _check_varied(values, link, action_columns)
    first = np.flatnonzero(link)
    breaks = np.diff(first, prepend=first[0] - 2) > 1
    last_of = np.append(breaks[1:], True)
    terminal = ended[first + 1]
    renumbered = np.cumsum(np.isin(np.arange(len(rows.names)), people)) - 1
    transitions = Transitions(
        agent=renumbered[rows.agent[first]],
        obs=obs[first].astype(np.float32),
        action=values[first] if labels else values[first].astype(np.float32),
        next_obs=obs[first + 1].astype(np.float32),
        reward=rewards[first],
        terminated=terminal,
        truncated=last_of & ~terminal,
        episode=np.cumsum(breaks) - 1,
        num_agents=len(people),
        task_name=name,
        dataset_id=name,
        agent_names=tuple(str(rows.names[k]) for k in people),
        obs_names=tuple(states),
        action_names=tuple(actions),
        action_labels=labels or None,
        angles=turning,
        circles=circles,
    )
    in_use = link.copy()
    in_use[first + 1] = True
    constant = (transitions.obs == transitions.obs[0]).all(0) & (
        transitions.next_obs == transitions.obs[0]
    ).all(0)
    report = TableReport(
        rows=len(frame),
        agents=len(people),
        trajectories=int(breaks.sum()),
        transitions=len(transitions),
        step=typical,
        max_gap=longest,
        gaps=gaps,
        missing=rows.dropped + int(bad.sum()) + int(unknown.sum()),
        lone_rows=int((~in_use & ~bad & ~unknown).sum()),
        dropped_agents=dropped,
        constant=tuple(c for c, same in zip(states, constant, strict=True) if same),
        actions=labels,
        untried=tuple(own for k, own in enumerate(labels) if not (values[first] == k).any()),
    )
    _LOG.info("%s: %s", name, report)
    return transitions, report


def _several(role: str, columns: str | Sequence[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise ValueError(f"name at least one column of the {role}")
    if not all(isinstance(column, str) for column in names):
        raise TypeError(f"{role} columns are named by strings, got {columns!r}")
    return names


def _task_name(source: Any, name: str | None) -> str:
    if name is None:
        name = Path(source).stem if isinstance(source, (str, Path)) else "table"
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
    for column, own in zip(columns, values[link].T, strict=True):
        if len(own) and (own == own[0]).all():
            raise ValueError(
                f"column {column.name!r}: the action is {own[0]:g} in every row, so that nothing "
                "can be learned of it; leave the column out, or for data without any choice give "
                "discrete_actions=True"
            )


def _check_resolution(
    obs: NDArray[np.float64], link: NDArray[np.bool_], columns: Sequence[Column]
) -> None:
    """Refuse states whose changes float32 can not tell from rounding."""
    first = np.flatnonzero(link)
    for column, own in zip(columns, obs.T, strict=True):
        changes = np.abs(own[first + 1] - own[first])
        changes = changes[changes > 0]
        size = float(np.abs(own[first]).max(initial=0.0))
        if len(changes) and np.median(changes) < 16 * np.finfo(np.float32).eps * size:
            raise ValueError(
                f"column {column.name!r}: values of about {size:g} that change by "
                f"{np.median(changes):g} are lost in float32; subtract a constant from them"
            )
