"""What a recording is asked for, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Policy, Task, as_agents
from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import Suite
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.policies.shipped import check_spaces


def check_wrapped(policy: Policy, task: Task) -> None:
    """Check that a policy inside mixtures fits a task; one by itself has been checked already.

    Raises:
        ValueError: If its spaces are not the task's.
    """
    while isinstance(policy, EpsilonMixture):
        policy = policy.policy
        check_spaces(policy, task)


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
        count = checks.integer("agents", agents, 1)
        if population is None and count > DEFAULT_SIZE:
            population = count
        elif isinstance(population, Mapping) and not {"size", "covariates"} & set(population):
            population = {"size": max(DEFAULT_SIZE, count), **population}
        everyone = suite.population(population)
        if count > len(everyone):
            raise ValueError(
                f"{count} agents are to be recorded, but this population has {len(everyone)}: give "
                "a larger one"
            )
        return np.arange(count), everyone
    if not isinstance(agents, (Sequence, np.ndarray)) or isinstance(agents, str):
        raise TypeError(
            f"agents must be how many agents to record, or a sequence of indices, got {agents!r}"
        )
    everyone = suite.population(population)
    if np.ndim(agents) != 1 or len(agents) == 0:
        raise ValueError(f"agents must name at least one agent, in one dimension, got {agents!r}")
    chosen = as_agents(agents, len(agents), len(everyone))
    values, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"agent {values[counts > 1][0]} is named {counts.max()} times: give episodes= for more "
            "than one episode of an agent"
        )
    return chosen, everyone
