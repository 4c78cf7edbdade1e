"""Agents that were not in training, and further transitions of those that were.

All that is here takes the :class:`~persim_gym.learned.parts.Parts` of a simulator and returns
others: what was there is never changed. Paper: a simulator there is of the agents that were in
training alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.envs.suites import SUITES
from persim_gym.learned.bounds import following_of
from persim_gym.learned.data import check_data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import slots
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.naming import AgentIndex
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.agent import AgentPosterior, Given
from persim_gym.learned.posterior.covariate_map import CovariateMap, fit_map
from persim_gym.learned.posterior.knowledge import Knowledge, Known, MixedKnowledge
from persim_gym.learned.posterior.latents import model_of, posterior_of
from persim_gym.learned.posterior.mixture import MixedMap
from persim_gym.learned.posterior.new_agents import (
    NO_PRIOR,
    Grown,
    NewAgent,
    grow,
    grow_by,
    joined_parts,
    knowledge_in,
)
from persim_gym.learned.record import path_of, with_labels_of
from persim_gym.learned.support import action_range, with_more_actions, with_new_agents
from persim_gym.offline.transitions import Transitions

#: A map from covariates to factors, of one family or of a mixture.
AnyMap: TypeAlias = CovariateMap | MixedMap
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
    lag = parts.ensemble.lag
    states = slots(data, lag, parts.ensemble.past)
    agents = []
    for agent in present.tolist():
        rows = np.flatnonzero(data.agent == agent)
        whole = rows[data.step[rows] >= lag - 1]  # a past that was recorded, where there is any
        rows = whole if len(whole) else rows
        following = following_of(data, rows, parts.task)
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
    parts: Parts, mapping: AnyMap, covariates: Any, names: Sequence[str] | None = None
) -> Added:
    """Append agents by their covariates; see :meth:`PerSim.adapt_covariates`."""
    ensemble, known = parts.ensemble, knowledge_of(parts)
    maps = mapping.parts if isinstance(mapping, MixedMap) else (mapping,)
    knowns = known.parts if isinstance(known, MixedKnowledge) else (known,)
    models = ensemble.parts if isinstance(ensemble, MixtureEnsemble) else (ensemble,)
    if len(maps) != len(knowns) or not all(map(_same_prior, maps, knowns)):
        raise ValueError("this map is of another simulator: make one with sim.map_covariates(...)")
    given = [own.given(covariates) for own in maps]
    n = given[0][1].shape[1]
    if names is not None and len(names) != n:
        raise ValueError(f"names are one for each of {n} agents, got {len(names)}")
    named = _new_names(parts, list(names) if names is not None else [None] * n)
    grown = [
        _grown_by(model, own, parts.task, said)
        for model, own, said in zip(models, knowns, given, strict=True)
    ]
    nothing = _range_of(parts.task, np.zeros((0, *(parts.task.action_space.shape or ()))))
    whole = joined_parts(ensemble, grown) if isinstance(ensemble, MixtureEnsemble) else grown[0]
    return _joined(parts, whole, named, [{} for _ in range(n)], [nothing] * n)


def _grown_by(model: Ensemble, known: Known, task: Task, given: Given) -> Grown:
    """A model of one family with agents of whom something is given ``[m, n, q(, q)]``."""
    own = knowledge_in(model, known)
    precision, information = given
    regression = model_of(model, own.prior)
    posteriors = [
        posterior_of(regression, task, given=(precision[:, k].clone(), information[:, k]))
        for k in range(information.shape[1])
    ]
    return grow_by(model, own, posteriors, model.num_agents)


def update(
    parts: Parts, agent: int, obs: Array, actions: Array, next_obs: Array, *, forget: bool = False
) -> tuple[Parts, AgentPosterior]:
    """Add transitions of an agent that the simulator has; see :meth:`PerSim.update`."""
    known = knowledge_of(parts)
    posterior = posterior_in(parts, agent)  # refused where what was said was not kept
    if forget:
        posterior = new_posterior_in(parts)
    posterior = posterior.update(obs, actions, next_obs)
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
    kept = known.keep(agent, posterior)
    ensemble = parts.ensemble.with_factors(factors)
    changed_parts = replace(
        parts, ensemble=ensemble, experience=experience, card=card, knowledge=kept
    )
    return changed_parts, posterior


def posterior_in(parts: Parts, agent: int) -> AgentPosterior:
    """What is known of an agent; of a mixture a :class:`MixedPosterior`.

    Raises:
        ValueError: If that has not been kept.
    """
    ensemble, known = parts.ensemble, knowledge_of(parts)
    if isinstance(known, MixedKnowledge) and isinstance(ensemble, MixtureEnsemble):
        return known.posterior(ensemble, parts.task, agent)
    return knowledge_in(ensemble, known).posterior(ensemble, parts.task, agent)


def new_posterior_in(parts: Parts) -> AgentPosterior:
    """What is known of an agent without any transitions."""
    ensemble, known = parts.ensemble, knowledge_of(parts)
    if isinstance(known, MixedKnowledge) and isinstance(ensemble, MixtureEnsemble):
        return known.new_posterior(ensemble, parts.task)
    return knowledge_in(ensemble, known).new_posterior(ensemble, parts.task)


def map_covariates(parts: Parts, covariates: Any) -> AnyMap:
    """A map from covariates to factors; see :meth:`PerSim.map_covariates`."""
    known = knowledge_of(parts)
    count = min(len(covariates), parts.ensemble.num_agents)
    if isinstance(known, Knowledge):
        return _mapped(known, covariates, count)
    pieces = [_mapped(own, covariates, count) for own in known.parts if isinstance(own, Knowledge)]
    return MixedMap(tuple(pieces))


def _mapped(known: Knowledge, covariates: Any, count: int) -> CovariateMap:
    """A map of the first agents, in a model of one family."""
    if known.first:
        raise ValueError(
            f"what the transitions of the {known.first} fitted agents said was not kept, for they "
            "are too many: fit a simulator of fewer agents to make a map"
        )
    return fit_map(known.prior, known.evidence.select(list(range(count))), covariates)


def knowledge_of(parts: Parts) -> Knowledge | MixedKnowledge:
    """What a simulator knows of its agents.

    Raises:
        ValueError: If it was made by an older version or by hand.
    """
    known = parts.knowledge
    if isinstance(known, Knowledge) or (isinstance(known, MixedKnowledge) and known.whole):
        return known
    raise ValueError(f"{NO_PRIOR}; adapt(...) adds agents from all of their transitions, too")


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


def _same_prior(mapping: CovariateMap, known: Known) -> bool:
    if not isinstance(known, Knowledge):
        return False
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
