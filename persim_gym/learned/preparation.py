"""From what a user gives to transitions, their task, and where to compute."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.offline.transitions import Transitions
from persim_gym.threads import few_threads


def as_transitions(
    data: Any,
    columns: Mapping[str, Any] | None = None,
    agent_of: Any = None,
    nameless: bool = False,
) -> Transitions:
    """Transitions from whatever ``PerSim.fit`` takes.

    Args:
        data: Transitions, a table or its file or folder, a Minari data set, its id or folder.
        columns: Of a table: the arguments of :func:`~persim_gym.offline.read_table`.
        agent_of: Of a Minari data set: as in :func:`~persim_gym.offline.read_transitions`.
        nameless: Likewise.

    Raises:
        TypeError: If ``columns`` or ``agent_of`` do not belong to such data.
        ValueError: If the data are invalid, or a table comes without ``columns``.
    """
    from persim_gym.offline.tables.sources import FILES, is_table

    table = not isinstance(data, Transitions) and is_table(data)
    if columns is not None and not table:
        raise TypeError(
            f"columns= is for tables, and data is {type(data).__name__}: a table is a {FILES}, "
            "or a DataFrame"
        )
    if agent_of is not None and (table or isinstance(data, Transitions)):
        raise TypeError(
            "agent_of= is for Minari data sets; of a table columns={'agent': ...} names the agent"
        )
    if isinstance(data, Transitions):
        return data
    if table:
        from persim_gym.offline.tables.reading import read_table

        if columns is None:
            raise ValueError(
                "say what the table's columns are: columns={'agent': ..., 'time': "
                "..., 'state': [...], 'action': [...], 'reward': ...}"
            )
        known = list(inspect.signature(read_table).parameters)[1:]
        if unknown := sorted(set(columns) - set(known)):
            hint = checks.meant(unknown[0], known)
            raise ValueError(f"columns= has no {unknown[0]!r}{hint}: it has {', '.join(known)}")
        if lacking := [key for key in ("agent", "state", "action") if key not in columns]:
            alone = ": where nothing is done, give 'action': []" if lacking[0] == "action" else ""
            raise ValueError(f"columns= does not name the {lacking[0]} of the table{alone}")
        return read_table(data, **columns)
    from persim_gym.offline.reading import read_transitions

    agents = {} if agent_of is None else {"agent_of": agent_of}
    return read_transitions(data, nameless=nameless, **agents)


def task_for(transitions: Transitions, seed: int, within: Transitions | None = None) -> Task:
    """This package's task that the data name, or else the one that the data imply.

    Args:
        transitions: The data.
        seed: As of ``DataTask.from_transitions``.
        within: Likewise.
    """
    from persim_gym.envs.suites import SUITES
    from persim_gym.learned.outcomes.data_task import DataTask

    suite = SUITES.get(transitions.task_name)
    if suite:
        return suite.task()
    with few_threads(transitions.obs.size, (1,), torch.device("cpu")):
        return DataTask.from_transitions(transitions, seed, within)


def task_of(name: str) -> Task:
    """This package's task of a name.

    Raises:
        ValueError: If there is none.
    """
    from persim_gym.envs.suites import find_suite

    return find_suite(name).task()


def check_device(device: str) -> torch.device:
    """A torch device that is there.

    Raises:
        ValueError: If it is unknown or not available.
    """
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {device!r} is not available: {str(error).splitlines()[0]}"
        ) from None
    return chosen
