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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import SUITES
from persim_gym.offline.columns import Column, as_frame, check_columns, seconds
from persim_gym.offline.reading import natural
from persim_gym.offline.transitions import Transitions

_LOG = logging.getLogger(__name__)

#: Without ``max_gap`` a trajectory ends where the time step is so many times the median.
GAP = 1.5

Handling = Literal["error", "drop"]


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
            parts.append(f"agents without a step left out: {_some(self.dropped_agents)}")
        if self.constant:
            parts.append(f"state columns that never change: {_some(self.constant)}")
        if self.actions:
            parts.append(f"discrete actions: {_some(self.actions)}")
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
    name: str | None = None,
) -> tuple[Transitions, TableReport]:
    """:func:`read_table`, with a report of what was split and left out."""
    states, actions = _several("state", state), _several("action", action)
    if twice := sorted({c for c in states + actions if (states + actions).count(c) > 1}):
        raise ValueError(f"column {twice[0]!r} is named twice among state and action")
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
    rows = _Rows(frame, agent, order, episode, missing == "drop")
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
    )
    _LOG.info("%s: %s", name, report)
    return transitions, report


class _Rows:
    """The rows of a table in the order of agent, episode and time."""

    def __init__(self, frame: Any, agent: str, order: str, episode: str | None, drop: bool) -> None:
        self.drop = drop
        self.order = order
        self.has_episodes = episode is not None
        keys = [agent, order] if episode is None else [agent, order, episode]
        numbers = np.arange(len(frame))
        lost = np.zeros(len(frame), dtype=np.bool_)
        for key in keys:
            column = Column(frame, key, numbers)
            if column.missing.any() and not drop:
                row = int(np.argmax(column.missing))
                raise ValueError(f"{column.where(row)}: the value is missing{_REMEDY}")
            lost |= column.missing
        self.dropped = int(lost.sum())
        frame, numbers = frame.loc[~lost], numbers[~lost]
        if not len(frame):
            raise ValueError("no row of the table names agent and time")
        self.names, agents = _numbered(Column(frame, agent, numbers).identifiers())
        own = self.names[agents]
        times, self.dates = Column(frame, order, numbers, own).times()
        episodes = np.zeros(len(frame), dtype=np.int64)
        if episode is not None:
            ids = Column(frame, episode, numbers, own).identifiers()
            episodes = _numbered(ids)[1]
        sort = np.lexsort((times, episodes, agents))
        self.frame = frame.iloc[sort]
        self.number, self.agent = numbers[sort], agents[sort]
        self.episode, self.time = episodes[sort], times[sort]
        self.same = (np.diff(self.agent) == 0) & (np.diff(self.episode) == 0)
        twice = self.same & (np.diff(self.time) == 0)
        if twice.any():
            row = int(np.argmax(twice))
            value = self.frame[order].iloc[row]
            raise ValueError(
                f"agent {str(self.names[self.agent[row]])!r} has two rows with {order!r} = {value} "
                f"(rows {self.number[row]} and {self.number[row + 1]}): keep one of them"
                + ("" if episode else ", or name the column that tells episodes apart")
            )

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> Column:
        """A column in this order."""
        return Column(self.frame, name, self.number, self.names[self.agent])

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
                row = int(np.argmax(lost))
                raise ValueError(f"{column.where(row)}: the value is missing{_REMEDY}")
            bad |= lost
        return bad

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

    def people(
        self, link: NDArray[np.bool_], short: Handling
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Agents with a step, and the names of those without.

        Raises:
            ValueError: If there are agents without, and they may not be dropped; or none with.
        """
        people = np.unique(self.agent[link])
        if not len(people):
            raise ValueError(
                f"no agent has two rows in sequence: check the columns of agent and {self.order!r},"
                " and max_gap"
            )
        without = np.setdiff1d(np.arange(len(self.names)), people)
        names = tuple(str(self.names[k]) for k in without)
        if names and short == "error":
            raise ValueError(
                f"there are no two rows in sequence of agent {_some(names)}, so no step to learn "
                "from: give more rows or a larger max_gap, or leave such agents out with "
                "short='drop'"
            )
        return people, names


_REMEDY = "; fill it in, or leave such rows out with missing='drop'"


def _numbered(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Different ids in their natural order, and the number of each row's ``[n]``."""
    names, numbers = np.unique(ids, return_inverse=True)
    if names.dtype.kind == "U":
        order = np.array(sorted(range(len(names)), key=lambda k: natural(str(names[k]))))
        names, numbers = names[order], np.argsort(order)[numbers]
    return names, numbers


def _several(role: str, columns: str | Sequence[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise ValueError(f"name at least one column of the {role}")
    if not all(isinstance(column, str) for column in names):
        raise TypeError(f"{role} columns are named by strings, got {columns!r}")
    return names


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(each) for each in names[:5]) + more


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
