"""Agents that nobody has seen: their factors from a handful of transitions, in closed form.

The model is linear in an agent's factor. With the population as prior, a new agent's factor is
therefore a Bayesian linear regression: milliseconds, with a posterior, and exact when transitions
arrive one by one, for what they say adds up. Paper: a simulator there is of the agents that were
in training alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import slots
from persim_gym.learned.inputs import flat_states, real_numbers
from persim_gym.learned.naming import AgentIndex
from persim_gym.learned.posterior.covariate_map import CovariateMap, fit_map
from persim_gym.learned.posterior.prior import Evidence, FactorModel, FactorPrior, moments, solve
from persim_gym.learned.preparation import check_data
from persim_gym.offline.transitions import Transitions

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim

#: Known of an agent by other means than transitions: precision and information ``[m, q(, q)]``.
Given = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a simulator knows of its agents' factors, beside the factors themselves.

    It is never changed, for several simulators may share it: more knowledge is another one.

    Attributes:
        prior: The population's.
        evidence: What transitions say of the agents from ``first`` on.
        first: 0, or the number of fitted agents where these are too many to keep their evidence.
        given: What else is known of some agents, by their index.
    """

    prior: FactorPrior
    evidence: Evidence
    first: int = 0
    given: dict[int, Given] = field(default_factory=dict)

    def posterior(self, ensemble: Ensemble, task: Task, agent: int) -> AgentPosterior:
        """One agent's posterior, on copies of what is known.

        Raises:
            ValueError: If what the agent's transitions said has not been kept.
        """
        if agent < self.first:
            raise ValueError(
                f"what the transitions of agent {agent} said was not kept, for the {self.first} "
                "fitted agents are too many: adapt(...) adds it as a new agent"
            )
        own = self.evidence.select([agent - self.first])
        model = FactorModel(ensemble, self.prior)
        return AgentPosterior(model, task, own, self.given.get(agent))

    def keep(self, agent: int, evidence: Evidence) -> Knowledge:
        """The same with an agent's evidence in the place of what was there."""
        place = agent - self.first
        kept = Evidence(**{name: t.clone() for name, t in self.evidence.tensors().items()})
        kept.precision[:, place] = evidence.precision[:, 0]
        kept.information[:, place] = evidence.information[:, 0]
        kept.count[place] = evidence.count[0]
        return replace(self, evidence=kept)

    def append(self, posteriors: Sequence[AgentPosterior], first: int) -> Knowledge:
        """The same with further agents, of whom the first has an index."""
        evidence, given = self.evidence, dict(self.given)
        for index, posterior in enumerate(posteriors, start=first):
            evidence = evidence.append(posterior.evidence)
            if posterior.given is not None:
                given[index] = posterior.given
        return replace(self, evidence=evidence, given=given)

    def to(self, device: torch.device | str) -> Knowledge:
        """The same on a device."""
        given = {k: (p.to(device), i.to(device)) for k, (p, i) in self.given.items()}
        return Knowledge(self.prior.to(device), self.evidence.to(device), self.first, given)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file; :meth:`to_json` has the rest."""
        found = {f"prior.{name}": tensor for name, tensor in self.prior.tensors().items()}
        found |= {f"evidence.{name}": tensor for name, tensor in self.evidence.tensors().items()}
        if self.given:
            for place, name in enumerate(("precision", "information")):
                parts = [known[place] for known in self.given.values()]
                found[f"given.{name}"] = torch.stack(parts, dim=1)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {**self.prior.to_json(), "first": self.first, "given": list(self.given)}

    @classmethod
    def from_file(
        cls, parts: Mapping[str, Mapping[str, Tensor]], plain: Mapping[str, Any]
    ) -> Knowledge:
        """What :meth:`tensors`, by part and name, and :meth:`to_json` have given.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is unknown.
        """
        numbers = dict(plain)
        first, agents = int(numbers.pop("first")), numbers.pop("given")
        given = {}
        for place, agent in enumerate(agents):
            known = parts["given"]["precision"], parts["given"]["information"]
            given[int(agent)] = known[0][:, place], known[1][:, place]
        prior = FactorPrior.from_file(parts["prior"], numbers)
        return cls(prior, Evidence(**parts["evidence"]), first, given)


class AgentPosterior:
    """What is known of one agent's factor: a Gaussian a member, and how it changes with data.

    :meth:`PerSim.posterior` makes them. Updating one does not touch the simulator:
    :meth:`PerSim.update` does both.

    Args:
        model: The fitted model and its prior.
        task: Spaces of observations and actions.
        evidence: What the agent's transitions say (of one agent).
        given: What else is known of the agent.
    """

    def __init__(
        self,
        model: FactorModel,
        task: Task,
        evidence: Evidence | None = None,
        given: Given | None = None,
    ) -> None:
        self._model = model
        self._task = task
        self._evidence = Evidence.none(model.prior, 1) if evidence is None else evidence
        self._given = given
        self._solved: tuple[Tensor, Tensor] | None = None

    @property
    def count(self) -> int:
        """Transitions that it has seen; those that end on a bound are left out."""
        return int(self._evidence.count[0])

    @property
    def evidence(self) -> Evidence:
        """What the transitions say, without the prior: precision, information and count."""
        return self._evidence

    @property
    def given(self) -> Given | None:
        """What is known by other means than transitions: precision and information."""
        return self._given

    def update(self, obs: Array, actions: Array, next_obs: Array) -> AgentPosterior:
        """Add transitions; the order, and whether they come together, makes no difference.

        Transitions that end on a bound of the observation space are left out: there the
        environment has cut off what the dynamics did.

        Args:
            obs: ``[n, d]``; with a lag above 1 states, which :meth:`PerSim.states` makes.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.

        Returns:
            Itself.

        Raises:
            TypeError: If discrete actions are no integers.
            ValueError: If shapes do not fit the task, or a value is not finite or out of range.
        """
        states, acts, following = check_rows(self._model, self._task, obs, actions, next_obs)
        space = self._task.observation_space
        low, high = (torch.as_tensor(bound).to(following) for bound in (space.low, space.high))
        kept = ((following > low) & (following < high)).all(1)
        change = self._model.ensemble.difference(states, following)
        nobody = torch.zeros(int(kept.sum()), dtype=torch.long, device=states.device)
        self._evidence.add(self._model.evidence(nobody, states[kept], acts[kept], change[kept], 1))
        self._solved = None
        return self

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self._solved is None:
            given = None
            if self._given is not None:
                given = self._given[0][:, None], self._given[1][:, None]
            mean, covariance = solve(self._model.prior, self._evidence, given)
            self._solved = mean[:, 0], covariance[:, 0]
        return self._solved

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean factor of each member ``[m, r]``."""
        return _array(self._model.prior.factors(self._moments()[0]))

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the factor of each member ``[m, r, r]``."""
        root = self._model.prior.root
        return _array(root @ self._moments()[1] @ root.mT)

    @property
    def personal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and deviations of the personal numbers ``[m, q]``, both in the population's units.

        A factor is the population's mean and a root of its covariance times these numbers: for
        the population they have mean 0 and deviation 1.
        """
        mean, covariance = self._moments()
        return _array(mean), _array(covariance.diagonal(dim1=-2, dim2=-1).sqrt())

    @property
    def spread(self) -> float:
        """Mean deviation of the personal numbers, in units of the population's own.

        1 before any transition, 0 where the agent is known exactly.
        """
        variance = self._moments()[1].diagonal(dim1=-2, dim2=-1)
        return float(variance.sqrt().mean()) if variance.numel() else 0.0

    def draw(self, seed: int = 0) -> Tensor:
        """A factor for each member ``[m, r]``: draws whose mean over members is kept.

        The spread of the members is then the posterior's, and their mean predicts as well as the
        posterior's mean does. A seed means the same random numbers after every update.
        """
        mean, covariance = self._moments()
        m, q = mean.shape
        if m > 1 and q > 0:
            noise = np.random.default_rng([seed, 7]).standard_normal((m, q))
            values, vectors = torch.linalg.eigh(covariance)
            draws = torch.as_tensor(noise, device=mean.device)
            # The symmetric root: members' draws stay comparable, so that they cancel.
            root = (vectors * values.clamp_min(0.0).sqrt()[:, None]) @ vectors.mT
            draws = (root @ draws[..., None])[..., 0]
            mean = mean + (draws - draws.mean(0)) * (m / (m - 1)) ** 0.5
        return self._model.prior.factors(mean)

    def interval(
        self, obs: Array, actions: Array, level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Interval that holds an agent's next observation with a probability, one step ahead.

        Each coordinate on its own, inside the observation space.

        Args:
            obs: As in :meth:`update`.
            actions: As in :meth:`update`.
            level: The probability, above 0 and below 1.

        Returns:
            Lower and upper ends ``[n, d]``.

        Raises:
            ValueError: If an argument is invalid.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be above 0 and below 1, got {level!r}")
        states, acts, _ = check_rows(self._model, self._task, obs, actions, None)
        prior = self._model.prior
        change, variance = moments(*self._model.design(states, acts), *self._moments(), prior)
        half = prior.quantile(level, self.count) * variance.sqrt()
        following = self._model.ensemble.following
        ends = torch.stack([following(states, change + side * half) for side in (-1, 0, 1)])
        space = self._task.observation_space
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        found = _array(ends.amin(0)), _array(ends.amax(0))
        return np.clip(found[0], low, high), np.clip(found[1], low, high)


def check_rows(
    model: FactorModel, task: Task, obs: Array, actions: Array, next_obs: Array | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions ``[n, l * w]``, ``[n(, a)]``, ``[n, d]`` in double precision, checked.

    Raises:
        TypeError: If values are no real numbers, or discrete actions no integers.
        ValueError: If shapes do not fit, or a value is not finite or out of range.
    """
    ensemble = model.ensemble
    d, device = ensemble.obs_dim, ensemble.device
    states = flat_states(ensemble, _tensor("obs", obs, device).double())
    n = len(states)
    following = states[:, -d:]
    if next_obs is not None:
        following = _tensor("next_obs", next_obs, device).double()
    if following.shape != (n, d):
        raise ValueError(f"next_obs must have shape {(n, d)}, got {tuple(following.shape)}")
    acts = _tensor("actions", actions, device)
    space = task.action_space
    tail = () if isinstance(space, Discrete) else tuple(space.shape or ())
    if acts.shape != (n, *tail):
        raise ValueError(f"actions must have shape {(n, *tail)}, got {tuple(acts.shape)}")
    if not isinstance(space, Discrete):
        acts = acts.float()
    elif n == 0:
        acts = acts.long()
    elif acts.is_floating_point():
        raise TypeError(f"discrete actions must be integers, got {acts.dtype}")
    elif acts.min() < 0 or acts.max() >= space.n:
        raise ValueError(
            f"actions must be 0 to {space.n - 1}, got {int(acts.min())} to {int(acts.max())}"
        )
    else:
        acts = acts.long()
    for name, values in (("obs", states), ("actions", acts), ("next_obs", following)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite: leave such transitions out")
    return states, acts, following


def _tensor(name: str, values: Array, device: torch.device) -> Tensor:
    values = real_numbers(name, values)
    if isinstance(values, Tensor):
        return values.to(device)
    return torch.as_tensor(np.array(values), device=device)  # a copy: it may be read-only


def _array(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)


# -- agents of a simulator -------------------------------------------------------------------------


def add_transitions(sim: PerSim, data: Transitions, name: str | None = None) -> int | list[int]:
    """Append the agents that transitions are of; see :meth:`PerSim.adapt`."""
    check_data(data, sim.task)
    check_task(sim, data)
    present = np.unique(data.agent)
    if name is not None and len(present) > 1:
        raise ValueError(
            f"name= is of one agent, the data are of {len(present)}: give Transitions agent_names"
        )
    names = [name] * len(present)
    if name is None and data.agent_names is not None:
        names = [data.agent_names[k] for k in present]
    states = slots(data, sim.lag, sim.ensemble.past)
    knowledge = sim.knowledge
    posteriors = []
    for agent in present:
        rows = np.flatnonzero(data.agent == agent)
        fresh = AgentPosterior(FactorModel(sim.ensemble, knowledge.prior), sim.task)
        following: Array = data.next_obs[rows]
        if data.changes is not None:
            following = data.obs[rows] + data.change(rows)
        posteriors.append(fresh.update(states[rows], data.action[rows], following))
    indices = append(sim, posteriors, names)
    for index, agent in zip(indices, present.tolist(), strict=True):
        sim.card["adapted"][str(index)] |= {"dataset": data.dataset_id, "of": agent}
    return indices[0] if len(indices) == 1 else indices


def add_rows(
    sim: PerSim, obs: Array, actions: Array, next_obs: Array, name: str | None = None
) -> int:
    """Append one agent of whom there are these transitions."""
    fresh = AgentPosterior(FactorModel(sim.ensemble, sim.knowledge.prior), sim.task)
    return append(sim, [fresh.update(obs, actions, next_obs)], [name])[0]


def map_covariates(sim: PerSim, covariates: Any) -> CovariateMap:
    """A map from covariates to factors; see :meth:`PerSim.map_covariates`."""
    known = sim.knowledge
    if known.first:
        raise ValueError(
            f"what the transitions of the {known.first} fitted agents said was not kept, for they "
            "are too many: fit a simulator of fewer agents to make a map"
        )
    count = min(len(covariates), sim.num_agents)
    return fit_map(known.prior, known.evidence.select(list(range(count))), covariates)


def add_by_covariates(
    sim: PerSim, mapping: CovariateMap, covariates: Any, names: Sequence[str] | None = None
) -> list[int]:
    """Append agents by their covariates; see :meth:`PerSim.adapt_covariates`."""
    if mapping.prior.root.shape != sim.prior.root.shape or not torch.equal(
        mapping.prior.root, sim.prior.root.to(mapping.prior.root)
    ):
        raise ValueError("this map is of another simulator: make one with sim.map_covariates(...)")
    precision, information = mapping.given(covariates)
    n = information.shape[1]
    if names is not None and len(names) != n:
        raise ValueError(f"names are one for each of {n} agents, got {len(names)}")
    model = FactorModel(sim.ensemble, sim.prior)
    posteriors = [
        AgentPosterior(model, sim.task, given=(precision[:, k].clone(), information[:, k]))
        for k in range(n)
    ]
    return append(sim, posteriors, list(names) if names is not None else [None] * n)


def append(sim: PerSim, posteriors: list[AgentPosterior], names: list[str | None]) -> list[int]:
    """Append agents to a simulator: nothing is changed if a name is refused."""
    first = sim.num_agents
    indices = list(range(first, first + len(posteriors)))
    named = new_names(sim, names)
    knowledge, ensemble = sim.knowledge.append(posteriors, first), sim.ensemble
    factors = torch.stack([p.draw(k) for k, p in zip(indices, posteriors, strict=True)], dim=1)
    old = ensemble.agent_factors()
    sim.ensemble = ensemble.with_factors(torch.cat([old, factors.to(old)], dim=1))
    seen = sim.experience.seen
    if seen is not None:
        seen = np.append(seen, np.ones(len(indices), dtype=np.bool_))
        sim.experience = replace(sim.experience, seen=seen)
    counts = [posterior.count for posterior in posteriors]
    adapted = {str(k): {"transitions": n} for k, n in zip(indices, counts, strict=True)}
    sim.knowledge = knowledge
    sim.card = {**sim.card, "adapted": {**sim.card.get("adapted", {}), **adapted}}
    sim.rename(named)
    return list(map(AgentIndex, indices))


def update(sim: PerSim, agent: int, obs: Array, actions: Array, next_obs: Array) -> AgentPosterior:
    """Add transitions of an agent that the simulator has; see :meth:`PerSim.update`."""
    posterior = sim.posterior(agent).update(obs, actions, next_obs)
    sim.knowledge = sim.knowledge.keep(agent, posterior.evidence)
    factors = sim.ensemble.agent_factors().clone()
    factors[:, agent] = posterior.draw(agent).to(factors)
    sim.ensemble = sim.ensemble.with_factors(factors)
    seen = sim.experience.seen
    if seen is not None and not seen[agent]:
        seen = seen.copy()
        seen[agent] = True
        sim.experience = replace(sim.experience, seen=seen)
        sim.rename(sim.agent_names)
    if str(agent) in sim.card.get("adapted", {}):
        changed = {**sim.card["adapted"][str(agent)], "transitions": posterior.count}
        sim.card = {**sim.card, "adapted": {**sim.card["adapted"], str(agent): changed}}
    return posterior


def new_names(sim: PerSim, names: list[str | None]) -> tuple[str, ...] | None:
    """Names of all agents with new ones appended; an agent without one is called by its index.

    Raises:
        TypeError: If a name is no text.
        ValueError: If a name is taken.
    """
    if sim.agent_names is None and all(name is None for name in names):
        return None
    known = list(sim.agent_names or map(str, range(sim.num_agents)))
    for name in names:
        called = name
        if name is None:  # whoever is called like its number already is somebody else
            called = str(len(known)) if str(len(known)) not in known else f"agent_{len(known)}"
        if not isinstance(called, str):
            raise TypeError(f"an agent's name is text, got {called!r}")
        if called in known:
            raise ValueError(
                f"there is an agent {called!r} already, agent {known.index(called)}: "
                "sim.update(...) adds transitions to it; for another agent give another name"
            )
        known.append(called)
    return tuple(known)


def check_task(sim: PerSim, data: Transitions) -> None:
    """Refuse data that name another of this package's tasks.

    Raises:
        ValueError: If they do.
    """
    from persim_gym.envs.suites import SUITES

    if data.task_name in SUITES and data.task_name != sim.task.name:
        raise ValueError(
            f"the data are of task {data.task_name!r}, this simulator is of {sim.task.name!r}"
        )
