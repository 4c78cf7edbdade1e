"""Which column of a table is what, checked before the table is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym.offline.arrays import called
from persim_gym.offline.tables.sources import Name


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Which column is what: names of strings, and ``used`` as they were given."""

    agent: str
    order: str
    episode: str | None
    reward: str | None
    terminated: str | None
    state: tuple[str, ...]
    action: tuple[str, ...]
    used: list[Name]

    @classmethod
    def named(
        cls,
        *,
        agent: Name,
        state: Name | Sequence[Name],
        action: Name | Sequence[Name],
        time: Name | None,
        reward: Name | None,
        terminated: Name | None,
        episode: Name | None,
        step: Name | None,
        discrete: bool | Sequence[Any] | None,
    ) -> ColumnNames:
        """Check how columns are named, before the table is read.

        Raises:
            TypeError: If one is named by something else than text or numbers.
            ValueError: If one is named twice, or too few or too many are.
        """
        states, actions = _several(state), _several(action)
        if not states:
            raise ValueError("name at least one column of the state")
        if not actions and discrete is not None:
            raise ValueError("no column of the action is named: leave discrete_actions out")
        own = [called(column) for column in states + actions]
        if twice := sorted({column for column in own if own.count(column) > 1}):
            raise ValueError(f"column {twice[0]!r} is named twice among state and action")
        if (time is None) == (step is None):
            raise ValueError(
                "give the column that orders an agent's rows, either time= or step=, and not both"
                if time is not None
                else "give the column that orders an agent's rows: time= or step="
            )
        of_actions = tuple(own[len(states) :])
        if len(actions) > 1 and discrete not in (None, False):
            raise ValueError(
                f"discrete actions are one column, got {len(actions)}: {', '.join(of_actions)}; "
                "join them into one"
            )
        order: Any = time if time is not None else step
        several = (episode, reward, terminated)
        single = [_checked(column) for column in (agent, order, *several) if column is not None]
        part, gain, end = (None if column is None else called(column) for column in several)
        return cls(
            called(agent), called(order), part, gain, end, tuple(own[: len(states)]), of_actions,
            [*single, *states, *actions],
        )  # fmt: skip


def source_of(
    table: Any, named: ColumnNames, step: float, by_step: bool, dates: bool, **options: Any
) -> dict[str, Any]:
    """Where a table is from and how it was read, as plain types.

    Args:
        table: What was read.
        named: Its columns.
        step: Median time between rows.
        by_step: Whether rows are ordered by whole-numbered steps, and not by time.
        dates: Whether times are dates, and the median in seconds.
        **options: Other arguments of :func:`~persim_gym.offline.read_table`.
    """
    columns: dict[str, Any] = {
        "agent": named.agent,
        "step" if by_step else "time": named.order,
        "episode": named.episode,
        "state": list(named.state),
        "action": list(named.action),
        "reward": named.reward,
        "terminated": named.terminated,
        **options,
    }
    unset: tuple[Any, ...] = (None, "error", (), [])
    plain = {key: _plain(v) for key, v in columns.items() if v not in unset or key == "action"}
    path = {"path": str(table)} if isinstance(table, (str, Path)) else {}
    return {**path, "columns": plain, "step": float(step)} | ({"dates": True} if dates else {})


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _several(columns: Name | Sequence[Name]) -> list[Name]:
    """Columns named by one name or a sequence of them; a tuple is a sequence."""
    if isinstance(columns, (str, int, np.integer)) or columns is None:
        columns = [columns]
    return [_checked(column) for column in columns]


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
