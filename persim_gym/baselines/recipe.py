"""What decides a baseline's fit: its configuration, the data, and the recipe as plain types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.config import Values
from persim_gym.learned.fitting.card import dataset_of
from persim_gym.learned.naming import AgentNames
from persim_gym.learned.outcomes.data_task import DataTask, outcomes_sha256
from persim_gym.learned.outcomes.given_reward import RewardedTask
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


def with_outcomes(transitions: Transitions, task: Task) -> Transitions:
    """Transitions with rewards and ends of their task, where they come without any."""
    obs, action, next_obs = transitions.obs, transitions.action, transitions.next_obs
    if isinstance(task, RewardedTask) or not transitions.reward.any():
        transitions = replace(transitions, reward=np.array(task.reward(obs, action, next_obs)))
    if not transitions.terminated.any():
        last = transitions.starts + transitions.lengths - 1
        over = np.zeros(len(transitions), dtype=np.bool_)
        over[last] = np.asarray(task.terminated(next_obs[last]))
        cut = transitions.truncated & ~over
        transitions = replace(transitions, terminated=over, truncated=cut)
    return transitions


def check_actions(name: str, data: Transitions, known: Task | None) -> None:
    """Refuse data of no known task in which but one discrete action was taken.

    Raises:
        ValueError: If they are such.
    """
    if known is None and data.action.ndim == 1 and (data.action == data.action[0]).all():
        raise ValueError(
            f"{name} learns which action to take, and the data have but one action: CaDM and "
            "PerSim learn the dynamics"
        )


def check_choice(name: str, data: Transitions, known: Task | None) -> None:
    """Refuse data of no known task that say of no action that it is better than another.

    Raises:
        ValueError: If there is one action, no reward, or always the same one in episodes that do
            not end.
    """
    check_actions(name, data, known)
    if known is not None:
        return
    otherwise = "Cloning imitates them, CaDM and PerSim learn the dynamics"
    if not data.reward.any():
        raise ValueError(
            f"{name} learns which action earns more, and the data have no reward: name its column "
            f"(reward), or give a task that has one; without, {otherwise}"
        )
    if not data.terminated.any() and (data.reward == data.reward[0]).all():
        raise ValueError(
            f"{name} learns which action earns more, and the data have the same reward in every "
            f"transition, {data.reward[0]:g}, and no episode that ends: {otherwise}"
        )


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
        "dataset": dataset_of(transitions) | {"outcomes_sha256": outcomes_sha256(transitions)},
    }
    if isinstance(task, DataTask):
        card["data_task"] = task.to_json()
    return card
