"""The record behind a simulator: read again from where its agents' transitions were read."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.data import check_data
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.preparation import as_transitions
from persim_gym.offline.transitions import Transitions

#: What of a table's columns a new table need not have: rewards teach a simulator nothing of it.
_OF_THE_FIT = ("reward",)


def read_record(sim: LearnedDynamics, data: Any = None, *, agent: int | None = None) -> Transitions:
    """What was recorded of a simulator's agents, with the simulator's own indices.

    Args:
        sim: The simulator.
        data: Where it is recorded: whatever :meth:`PerSim.fit` takes; of a table the columns are
            those of the fit. By default where the fit, or :meth:`PerSim.adapt`, has read it: a
            table's file or a Minari data set.
        agent: The agent in question, if it is one; it decides which file is read by default.

    Returns:
        Transitions of those of the simulator's agents that the data are of. Rewards are 0 where the
        data have no such column.

    Raises:
        FileNotFoundError: If the file is not where it was.
        ValueError: If nothing says where the record is, or the data are of other agents, columns
            or actions.
    """
    found = _read(sim, _place(sim, agent) if data is None else data)
    found = with_labels_of(sim.task, found)
    check_data(found, sim.task)
    return _renumbered(sim, found, given=data is not None)


def columns_for(card: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`~persim_gym.offline.read_table` by which a fit's table was read.

    Empty where the fit was of no table.
    """
    columns = dict(card.get("source", {}).get("columns", {}))
    if "angles" in columns:
        columns["angles"] = [tuple(a) if isinstance(a, list) else a for a in columns["angles"]]
    from persim_gym.offline.tables.reading import read_table

    known = set(inspect.signature(read_table).parameters)
    return {key: value for key, value in columns.items() if key in known}


def with_labels_of(task: Task, data: Transitions) -> Transitions:
    """Data whose discrete actions count as a task's do, by their names.

    A table that lacks one of the categories counts them off in another way.

    Raises:
        ValueError: If an action has a name that the task does not know.
    """
    labels, own = getattr(task, "action_labels", None), data.action_labels
    if labels is None or own is None or tuple(labels) == tuple(own):
        return data
    if unknown := [one for one in own if one not in labels]:
        raise ValueError(
            f"there is no action {unknown[0]!r}{checks.meant(unknown[0], labels)} in this "
            f"simulator: it has {', '.join(labels)}"
        )
    index: NDArray[np.int64] = np.array([labels.index(one) for one in own], dtype=np.int64)
    return replace(data, action=index[data.action], action_labels=tuple(labels))


def with_declared_of(card: Mapping[str, Any], data: Transitions) -> Transitions:
    """Data with the bounds and units that were declared for a fit: a file does not hold them.

    Args:
        card: The simulator's.
        data: Transitions with the columns of the fit.
    """
    ends = tuple(
        (int(column), -math.inf if low is None else low, math.inf if high is None else high)
        for column, low, high in card.get("bounds", ())
    )
    own = (tuple(card.get(key) or ()) or None for key in ("obs_units", "action_units"))
    return replace(data, bounds=ends, obs_units=next(own), action_units=next(own))


def path_of(data: Transitions) -> dict[str, str]:
    """The file of a table, for the card of an agent that was read from it."""
    path = (data.source or {}).get("path")
    return {} if path is None else {"path": str(path)}


def _place(sim: LearnedDynamics, agent: int | None) -> Any:
    """Where a simulator's agents, or one of them, were read.

    Raises:
        FileNotFoundError: If the file is not there any more.
        ValueError: If nothing says where.
    """
    card = sim.card
    adapted = card.get("adapted", {}).get(str(agent))
    path = card.get("source", {}).get("path") if adapted is None else adapted.get("path")
    dataset = card.get("dataset", {}).get("id") if adapted is None else adapted.get("dataset")
    remedy = "give the data: --data FILE, or data= in Python"
    if path is not None:
        if not Path(path).exists():
            raise FileNotFoundError(
                f"the record of this simulator was {path}, which is not there: {remedy}"
            )
        return path
    if "source" not in card and dataset:
        import minari

        if dataset in minari.list_local_datasets():
            return dataset
        raise FileNotFoundError(
            f"the record of this simulator was the data set {dataset!r}, which is not on this "
            f"machine: {remedy}"
        )
    raise ValueError(f"this simulator does not say in which file its record is: {remedy}")


def _read(sim: LearnedDynamics, data: Any) -> Transitions:
    from persim_gym.offline.tables.sources import is_table

    if isinstance(data, Transitions) or not is_table(data):
        return as_transitions(data)
    columns = columns_for(sim.card)
    if not columns:
        raise ValueError(
            "this simulator was not fitted on a table and knows no columns: read the table with "
            "read_table(...) and give the transitions"
        )
    return read_with(data, columns)


def read_with(table: Any, columns: Mapping[str, Any]) -> Transitions:
    """Another table by the columns of a fit; what only rewards need may be missing.

    Raises:
        ValueError: If the table lacks a column that is needed.
    """
    try:
        return as_transitions(table, columns)
    except ValueError:
        fewer = {key: value for key, value in columns.items() if key not in _OF_THE_FIT}
        if fewer == dict(columns):
            raise
        return as_transitions(table, fewer)


def _renumbered(sim: LearnedDynamics, data: Transitions, given: bool) -> Transitions:
    """The rows of agents that a simulator has, with its indices."""
    index = np.full(data.num_agents, -1, dtype=np.int64)
    if data.agent_names is not None and sim.agent_names is not None:
        of = {name: k for k, name in enumerate(sim.agent_names)}
        index[:] = [of.get(name, -1) for name in data.agent_names]
    elif not given or data.agent_names is None:
        index[: sim.num_agents] = np.arange(min(sim.num_agents, data.num_agents))
        for key, entry in sim.card.get("adapted", {}).items():
            if data.dataset_id and entry.get("dataset") == data.dataset_id:
                index[entry["of"]] = int(key)
    agents = index[data.agent]
    if not (agents >= 0).any():
        raise ValueError(
            f"the data are of none of this simulator's {sim.num_agents} agents: their agents are "
            f"{', '.join(map(repr, (data.agent_names or ('numbers',))[:3]))}"
        )
    return replace(
        data.select(agents >= 0), agent=agents[agents >= 0], num_agents=sim.num_agents,
        agent_names=sim.agent_names, population=None,
    )  # fmt: skip
