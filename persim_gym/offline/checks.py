"""What a recording is asked for, checked before any work."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, Space
from numpy.typing import NDArray

from persim_gym.core import Task, as_agents
from persim_gym.envs.agents import DEFAULT_SIZE, Population
from persim_gym.envs.suites import Suite
from persim_gym.offline.behaviours import EpsilonMixture, behaviour_name


def whole(name: str, value: object, least: int) -> int:
    """A whole number that is not too small, as a plain ``int``.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below ``least``.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def check_spaces(policy: Any, task: Task) -> None:
    """Refuse a policy that was made for other observations or actions.

    Bounds may differ: actions are clipped, and observations need none.

    Raises:
        ValueError: If its spaces are of another kind, shape or number of actions.
    """
    if isinstance(policy, EpsilonMixture):
        check_spaces(policy.policy, task)
    for name, theirs, own in (
        ("observations", getattr(policy, "observation_space", None), task.observation_space),
        ("actions", getattr(policy, "action_space", None), task.action_space),
    ):
        if isinstance(theirs, Space) and _kind(theirs) != _kind(own):
            raise ValueError(
                f"the policy {behaviour_name(policy)!r} does not fit {task.name}: its {name} are "
                f"{theirs}, the task's are {own}"
            )


def _kind(space: Space[Any]) -> tuple[Any, ...]:
    if isinstance(space, Discrete):
        return Discrete, int(space.start), int(space.n)
    return type(space), space.shape


def choose_agents(
    suite: Suite, agents: object, population: object
) -> tuple[NDArray[np.int64], Population]:
    """The agents to record ``[n]``, and their population.

    Args:
        suite: The task and its covariates.
        agents: How many, from the first on, or their indices.
        population: As for an environment.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an agent does not exist or is named twice, or there are none.
    """
    if isinstance(agents, (int, np.integer)):
        count = whole("agents", agents, least=1)
        if population is None and count > DEFAULT_SIZE:
            population = count
        elif isinstance(population, Mapping) and not {"size", "covariates"} & set(population):
            population = {"size": max(DEFAULT_SIZE, count), **population}
        people = suite.population(population)
        if count > len(people):
            raise ValueError(
                f"{count} agents are to be recorded, but this population has {len(people)}: give "
                "a larger one"
            )
        return np.arange(count), people
    if not isinstance(agents, (Sequence, np.ndarray)) or isinstance(agents, str):
        raise TypeError(
            f"agents must be how many agents to record, or a sequence of indices, got {agents!r}"
        )
    people = suite.population(population)
    if np.ndim(agents) != 1 or len(agents) == 0:
        raise ValueError(f"agents must name at least one agent, in one dimension, got {agents!r}")
    chosen = as_agents(agents, len(agents), len(people))
    values, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"agent {values[counts > 1][0]} is named {counts.max()} times: give episodes= for more "
            "than one episode of an agent"
        )
    return chosen, people
