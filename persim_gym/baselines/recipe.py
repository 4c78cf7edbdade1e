"""What decides a baseline's fit: its configuration, the agents, and the recipe as plain types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.config import Values
from persim_gym.learned.naming import AgentNames
from persim_gym.learned.outcomes.data_task import DataTask, outcomes_sha256
from persim_gym.offline.transitions import Transitions


def as_config(kind: type[Values], config: Any, options: Mapping[str, Any]) -> Any:
    """A configuration from one, a mapping or nothing, with options changed.

    Raises:
        TypeError: If it is none of these.
        ValueError: If an option is unknown or invalid.
    """
    if config is None or isinstance(config, Mapping):
        config = kind().replaced(config or {})
    if not isinstance(config, kind):
        raise TypeError(
            f"config must be a {kind.__name__} or a mapping, got {checks.shown(config)}"
        )
    return config.replaced(options) if options else config


def of_agent(transitions: Transitions, agent: int | str | None) -> Transitions:
    """The transitions of one agent, or all of them for ``None``.

    Raises:
        TypeError: If an agent is neither text nor an integer.
        ValueError: If there is no such agent, or it has no transitions.
    """
    if agent is None:
        return transitions
    index = AgentNames(transitions.agent_names or (), transitions.num_agents).find(agent)
    rows = transitions.agent == int(index)
    if not rows.any():
        raise ValueError(
            f"agent {agent!r} has no transitions in the data: choose one that has, or record it"
        )
    return transitions.select(rows)


def recipe_of(
    name: str, config: Any, seed: int, task: Task, transitions: Transitions
) -> dict[str, Any]:
    """All that decides a fit, as plain types: a checkpoint of another recipe is refused."""
    names, there = transitions.agent_names, np.unique(transitions.agent).tolist()
    card = {
        "method": name,
        "config": config.to_json(),
        "seed": seed,
        "task": task.name,
        "agents": [names[k] for k in there] if names else there,
        "dataset": {
            "id": transitions.dataset_id,
            "sha256": transitions.sha256(),
            "outcomes_sha256": outcomes_sha256(transitions),
            "transitions": len(transitions),
            "agents": transitions.num_agents,
            "population": transitions.population,
        },
    }
    if isinstance(task, DataTask):
        card["data_task"] = task.to_json()
    return card
