"""Agents by the names that they have in the data."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from persim_gym.core import as_agent


def find_agent(agent: object, index_of: Mapping[str, int], num_agents: int) -> int:
    """The index of an agent that is given by its name or its index.

    Args:
        agent: The name or the index.
        index_of: Indices by name; empty where agents have no names.
        num_agents: How many agents there are.

    Raises:
        TypeError: If it is neither text nor an integer.
        ValueError: If there is no such agent.
    """
    if not isinstance(agent, str):
        return as_agent(agent, num_agents)
    if agent in index_of:
        return index_of[agent]
    if not index_of:
        raise ValueError(
            f"agent {agent!r} is not known by name: this simulator's agents are numbers, 0 to "
            f"{num_agents - 1}"
        )
    near = difflib.get_close_matches(agent, index_of, n=1) or list(index_of)[:1]
    raise ValueError(
        f"there is no agent {agent!r} among the {num_agents} of this simulator; there is "
        f"{near[0]!r}"
    )


def find_agents(agents: Any, index_of: Mapping[str, int], num_agents: int) -> Any:
    """Names among agents turned into indices: of one, a sequence, or ``None`` as it came."""
    if isinstance(agents, str):
        return find_agent(agents, index_of, num_agents)
    if agents is None or np.ndim(agents) == 0 or isinstance(agents, range):
        return agents
    if any(isinstance(agent, str) for agent in agents):
        return [find_agent(agent, index_of, num_agents) for agent in agents]
    return agents
