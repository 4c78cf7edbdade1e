"""The tasks that there are, and the entry points of their environments.

Data sets name the entry points in the specs of their environments: these stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Task, one_of
from persim_gym.envs.env import SimEnv, drawn
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.populations import Population
from persim_gym.envs.tasks import cart_pole, half_cheetah, mountain_car
from persim_gym.envs.tasks.facts import Suite as Suite
from persim_gym.envs.vector import SimVectorEnv

#: The tasks by name, with all that is fixed of them.
SUITES: dict[str, Suite] = {
    suite.name: suite for suite in (mountain_car.SUITE, cart_pole.SUITE, half_cheetah.SUITE)
}


def find_suite(name: str) -> Suite:
    """The suite of a task name or of an environment id.

    Raises:
        ValueError: If there is none, with the names there are.
    """
    for suite in SUITES.values():
        if name in (suite.name, suite.env_id):
            return suite
    known = ", ".join(f"{suite.name} ({suite.env_id})" for suite in SUITES.values())
    raise ValueError(
        f"unknown task {checks.shown(name)}{checks.meant(name, SUITES)}: there are {known}"
    )


def suite_of(task: Task) -> Suite:
    """The suite of a task whose true environment is asked for.

    Raises:
        ValueError: If it is none of this package's.
    """
    if task.name in SUITES:
        return SUITES[task.name]
    raise ValueError(
        f"there is no true environment of this task, {task.name!r}: only {', '.join(SUITES)} have "
        "one; sim.validate() judges a simulator by its record, and sim.env() and MPC need no true "
        "environment"
    )


def coordinate_names(task_name: str, d: int) -> tuple[str, ...]:
    """Names of a task's ``d`` coordinates; numbers for a task of which none are known."""
    names = SUITES[task_name].coordinates if task_name in SUITES else ()
    return names if len(names) == d else tuple(f"coordinate {i}" for i in range(d))


def single_agent(agent: Any, agents: Any) -> Any:
    """What ``agent=`` and ``agents=`` say to an environment of one agent.

    Raises:
        ValueError: If they say different things, or there are several agents.
    """
    chosen = one_of(agent, agents)
    if chosen is None or isinstance(chosen, str) or np.ndim(chosen) == 0:
        return chosen
    if len(chosen) != 1:
        raise ValueError(
            f"this environment is of one agent, got {len(chosen)}: an agent a lane is what "
            "gymnasium.make_vec gives without vectorization_mode, for each environment of the "
            "'sync' and 'async' modes is given all arguments"
        )
    return chosen[0]


def _agents(
    suite: Suite, covariates: Mapping[str, float] | None, population: object
) -> tuple[Population, Dynamics]:
    if covariates is not None and population is not None:
        raise ValueError("give covariates (one agent) or a population, not both")
    if covariates is not None:
        chosen = Population.single(suite.covariates, covariates)
    else:
        chosen = suite.population(population)
    return chosen, suite.dynamics(chosen)


@drawn
def make_env(
    task: str,
    agent: int | None = None,
    covariates: Mapping[str, float] | None = None,
    population: object = None,
    render_mode: str | None = None,
    *,
    agents: int | Sequence[int] | None = None,
) -> SimEnv:
    """Entry point of the true environments: ``gym.make("PerSim-CartPole-v0", agent=3)``.

    Args:
        task: Task name or environment id.
        agent: Agent of the population, 0 if not given.
        covariates: Instead of an agent of a population: one agent's covariates, the rest default.
        population: A size, a mapping with size, seed and ranges, or a
            :class:`~persim_gym.envs.populations.Population`; the default population if not given.
        render_mode: ``None``, ``"rgb_array"`` or ``"human"``.
        agents: The same as ``agent``, the word of the vector environment.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an agent or covariate is invalid, or both ways to name an agent are used.
    """
    agent = single_agent(agent, agents)
    if covariates is not None and agent is not None:
        raise ValueError(
            f"agent={agent} and covariates={dict(covariates)} both say which agent: give one"
        )
    suite = find_suite(task)
    chosen, dynamics = _agents(suite, covariates, population)
    return SimEnv(
        suite.task(),
        dynamics,
        agent=0 if agent is None else agent,
        render_mode=render_mode,
        covariates_of=chosen.covariates,
    )


def make_vector_env(
    task: str,
    num_envs: int = 1,
    agents: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
    covariates: Mapping[str, float] | None = None,
    population: object = None,
    *,
    agent: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
    **shell: Any,
) -> SimVectorEnv:
    """Vector entry point: ``gym.make_vec("PerSim-CartPole-v0", num_envs=8, agents=range(8))``.

    Args:
        task: Task name or environment id.
        num_envs: Number of lanes.
        agents: One agent for all lanes or one for each; by default lane ``i`` is agent ``i``.
        covariates: One agent's covariates, for all lanes.
        population: As in :func:`make_env`.
        agent: The same as ``agents``, the word of the scalar environment.
        **shell: ``max_episode_steps``, ``autoreset_mode`` and ``render_mode`` of
            :class:`~persim_gym.envs.vector.SimVectorEnv`.
    """
    suite = find_suite(task)
    chosen, dynamics = _agents(suite, covariates, population)
    return SimVectorEnv(
        suite.task(),
        dynamics,
        num_envs,
        agents=one_of(agent, agents),
        covariates_of=chosen.covariates,
        **shell,
    )


def make_parallel_env(
    task: str,
    agents: Sequence[int],
    population: object = None,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
) -> SimParallelEnv:
    """Several true agents as a PettingZoo environment; arguments as in :func:`make_env`."""
    suite = find_suite(task)
    chosen, dynamics = _agents(suite, None, population)
    return SimParallelEnv(
        suite.task(),
        dynamics,
        agents,
        max_episode_steps=max_episode_steps,
        render_mode=render_mode,
        covariates_of=chosen.covariates,
    )
