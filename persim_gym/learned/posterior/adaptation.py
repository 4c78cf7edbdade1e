"""Agents that were not in training, and further transitions of those that were.

All that is here takes the :class:`~persim_gym.learned.parts.Parts` of a simulator and returns
others: what was there is never changed. Paper: a simulator there is of the agents that were in
training alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.envs.suites import SUITES
from persim_gym.learned.frames.history import slots
from persim_gym.learned.naming import AgentIndex
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.agent import AgentPosterior
from persim_gym.learned.posterior.covariate_map import CovariateMap, fit_map
from persim_gym.learned.posterior.knowledge import Knowledge
from persim_gym.learned.posterior.new_agents import (
    Grown,
    NewAgent,
    grow,
    grow_by,
    linear_knowledge,
)
from persim_gym.learned.posterior.prior import FactorModel
from persim_gym.learned.preparation import check_data
from persim_gym.learned.record import path_of, with_labels_of
from persim_gym.learned.support import action_range, with_more_actions, with_new_agents
from persim_gym.offline.transitions import Transitions

#: A simulator with new agents, and their indices.
Added = tuple[Parts, list[AgentIndex]]


def read_agents(parts: Parts, data: Transitions, name: str | None = None) -> list[NewAgent]:
    """The agents that transitions are of.

    Raises:
        ValueError: If the data are of another task, or several agents are given one name.
    """
    data = with_labels_of(parts.task, data)
    check_data(data, parts.task)
    check_task(parts.task.name, data)
    present = np.unique(data.agent)
    if name is not None and len(present) > 1:
        raise ValueError(
            f"name= is of one agent, the data are of {len(present)}: give Transitions agent_names"
        )
    states = slots(data, parts.ensemble.lag, parts.ensemble.past)
    agents = []
    for agent in present.tolist():
        rows = np.flatnonzero(data.agent == agent)
        following: Array = data.next_obs[rows]
        if data.changes is not None:
            following = data.obs[rows] + data.change(rows)
        called = name
        if name is None and data.agent_names is not None:
            called = data.agent_names[agent]
        source = {"dataset": data.dataset_id, "of": agent, **path_of(data)}
        agents.append(NewAgent(states[rows], data.action[rows], following, called, source))
    return agents


def add(parts: Parts, agents: Sequence[NewAgent]) -> Added:
    """Append agents, whatever the family of the model.

    Raises:
        TypeError: If values have the wrong type, or the model can take no agents.
        ValueError: If values do not fit the task, or a name is taken.
    """
    named = _new_names(parts, [new.name for new in agents])
    ensemble, task = parts.ensemble, parts.task
    checked = [new.checked(ensemble, task) for new in agents]
    grown = grow(ensemble, parts.knowledge, task, checked, ensemble.num_agents)
    ranges = [_range_of(task, new.actions) for new in checked]
    return _joined(parts, grown, named, [dict(new.source) for new in agents], ranges)


def add_by_covariates(
    parts: Parts, mapping: CovariateMap, covariates: Any, names: Sequence[str] | None = None
) -> Added:
    """Append agents by their covariates; see :meth:`PerSim.adapt_covariates`."""
    known = knowledge_of(parts, "adapt_covariates")
    if not _same_prior(mapping, known):
        raise ValueError("this map is of another simulator: make one with sim.map_covariates(...)")
    precision, information = mapping.given(covariates)
    n = information.shape[1]
    if names is not None and len(names) != n:
        raise ValueError(f"names are one for each of {n} agents, got {len(names)}")
    named = _new_names(parts, list(names) if names is not None else [None] * n)
    model = FactorModel(parts.ensemble, known.prior)
    posteriors = [
        AgentPosterior(model, parts.task, given=(precision[:, k].clone(), information[:, k]))
        for k in range(n)
    ]
    grown = grow_by(parts.ensemble, known, posteriors, parts.ensemble.num_agents)
    nothing = _range_of(parts.task, np.zeros((0, *(parts.task.action_space.shape or ()))))
    return _joined(parts, grown, named, [{} for _ in range(n)], [nothing] * n)


def update(
    parts: Parts, agent: int, obs: Array, actions: Array, next_obs: Array
) -> tuple[Parts, AgentPosterior]:
    """Add transitions of an agent that the simulator has; see :meth:`PerSim.update`."""
    known = knowledge_of(parts, "update")
    posterior = known.posterior(parts.ensemble, parts.task, agent).update(obs, actions, next_obs)
    factors = parts.ensemble.agent_factors().clone()
    factors[:, agent] = posterior.draw(agent).to(factors)
    experience, card = parts.experience, parts.card
    experience = with_more_actions(experience, agent, _range_of(parts.task, actions))
    if experience.seen is not None and not experience.seen[agent]:
        seen = experience.seen.copy()
        seen[agent] = True
        experience = replace(experience, seen=seen)
    if str(agent) in card.get("adapted", {}):
        changed = {**card["adapted"][str(agent)], "transitions": posterior.count}
        card = {**card, "adapted": {**card["adapted"], str(agent): changed}}
    changed_parts = replace(
        parts,
        ensemble=parts.ensemble.with_factors(factors),
        experience=experience,
        card=card,
        knowledge=known.keep(agent, posterior.evidence),
    )
    return changed_parts, posterior


def map_covariates(parts: Parts, covariates: Any) -> CovariateMap:
    """A map from covariates to factors; see :meth:`PerSim.map_covariates`."""
    known = knowledge_of(parts, "map_covariates")
    if known.first:
        raise ValueError(
            f"what the transitions of the {known.first} fitted agents said was not kept, for they "
            "are too many: fit a simulator of fewer agents to make a map"
        )
    count = min(len(covariates), parts.ensemble.num_agents)
    return fit_map(known.prior, known.evidence.select(list(range(count))), covariates)


def knowledge_of(parts: Parts, what: str) -> Knowledge:
    """What a simulator that is linear in an agent's factor knows of its agents.

    Raises:
        TypeError: If it is of another family; ``what`` is what cannot be had.
        ValueError: If it was made by an older version or by hand.
    """
    return linear_knowledge(parts.ensemble, parts.knowledge, what)


def check_task(task_name: str, data: Transitions) -> None:
    """Refuse data that name another of this package's tasks.

    Raises:
        ValueError: If they do.
    """
    if data.task_name in SUITES and data.task_name != task_name:
        raise ValueError(
            f"the data are of task {data.task_name!r}, this simulator is of {task_name!r}"
        )


def _range_of(task: Task, actions: Array) -> tuple[Any, Any]:
    space = task.action_space
    plain = actions.cpu().numpy() if isinstance(actions, Tensor) else np.asarray(actions)
    return action_range(plain, int(space.n) if isinstance(space, Discrete) else 0)


def _joined(
    parts: Parts,
    grown: Grown,
    named: tuple[str, ...] | None,
    sources: list[dict[str, Any]],
    ranges: list[tuple[Any, Any]],
) -> Added:
    first, count = parts.ensemble.num_agents, len(grown.counts)
    indices = [AgentIndex(first + place) for place in range(count)]
    experience = with_new_agents(parts.experience, ranges)
    if experience.seen is not None:
        seen: NDArray[np.bool_] = np.append(experience.seen, np.ones(count, dtype=np.bool_))
        experience = replace(experience, seen=seen)
    adapted = {
        str(index): {"transitions": used, **source}
        for index, used, source in zip(indices, grown.counts, sources, strict=True)
    }
    card = {**parts.card, "adapted": {**parts.card.get("adapted", {}), **adapted}}
    known = grown.knowledge, parts.uncertainty
    together = Parts(grown.ensemble, parts.task, experience, card, *known)
    return together.named(named), indices


def _same_prior(mapping: CovariateMap, known: Knowledge) -> bool:
    theirs, own = mapping.prior.root, known.prior.root
    return theirs.shape == own.shape and bool((theirs == own.to(theirs)).all())


def _new_names(parts: Parts, names: list[str | None]) -> tuple[str, ...] | None:
    """Names of all agents with new ones appended; an agent without one is called by its index.

    Raises:
        TypeError: If a name is no text.
        ValueError: If a name is taken.
    """
    if parts.agent_names is None and all(name is None for name in names):
        return None
    known = dict.fromkeys(parts.agent_names or map(str, range(parts.ensemble.num_agents)))
    for name in names:
        called = name
        if name is None:  # another agent may be called like the number of this one
            called = str(len(known)) if str(len(known)) not in known else f"agent_{len(known)}"
        if not isinstance(called, str):
            raise TypeError(f"an agent's name is text, got {called!r}")
        if called in known:
            raise ValueError(
                f"there is an agent {called!r} already, agent {list(known).index(called)}: "
                "sim.update(...) adds transitions to it; for another agent give another name"
            )
        known[called] = None
    return tuple(known)
