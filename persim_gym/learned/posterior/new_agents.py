"""What is personal of new agents, in each family in its own way.

* Models that are linear in an agent's factor (closed forms, the paper's networks, hierarchical
  polynomials): a Bayesian linear regression with the population as prior.
* Networks that a latent enters nonlinearly: the most likely latent, by Gauss-Newton steps.
* Mixtures: each part by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from persim_gym.core import Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.latent.posterior import STARTS, posterior
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.agent import AgentPosterior, check_rows
from persim_gym.learned.posterior.knowledge import Knowledge, Known, MixedKnowledge
from persim_gym.learned.posterior.latents import (
    LatentModel,
    LatentPosterior,
    around,
    prior_of_latents,
)
from persim_gym.learned.posterior.prior import FactorModel

#: Why an agent's posterior cannot be had, and the remedy.
NO_PRIOR = (
    "this simulator keeps no prior of its population, for it was made by an older version or by "
    "hand: fit it again with PerSim.fit"
)


@dataclass(frozen=True, slots=True)
class NewAgent:
    """An agent that was not in training, with arrays, tensors or sequences of its transitions.

    Attributes:
        states: ``[n, d]``, or with a lag above 1 ``[n, l * w]`` or ``[n, l, w]``.
        actions: ``[n(, a)]``.
        next_obs: ``[n, d]``.
        name: What it is called.
        source: Where its transitions are from, in plain types, for the card.
    """

    states: Any
    actions: Any
    next_obs: Any
    name: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def unknown(
        cls,
        ensemble: Ensemble,
        task: Task,
        name: str | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> NewAgent:
        """One without transitions."""
        space = task.action_space
        actions = np.zeros((0, *(space.shape or ())), dtype=space.dtype)
        if isinstance(space, Discrete):
            actions = np.zeros(0, dtype=np.int64)
        width = ensemble.lag * (ensemble.past + ensemble.obs_dim)
        states, next_obs = np.zeros((0, width)), np.zeros((0, ensemble.obs_dim))
        return cls(states, actions, next_obs, name, source or {})

    def checked(self, ensemble: Ensemble, task: Task) -> NewAgent:
        """The same with tensors in double precision.

        Raises:
            TypeError: If values are no real numbers, or discrete actions no integers.
            ValueError: If shapes do not fit, or a value is not finite or out of range.
        """
        rows = check_rows(ensemble, task, self.states, self.actions, self.next_obs)
        return NewAgent(*rows, self.name, self.source)


@dataclass(frozen=True, slots=True)
class Grown:
    """A model with further agents.

    Attributes:
        ensemble: The members.
        knowledge: What is known of all agents.
        counts: Transitions that were used of each new agent.
    """

    ensemble: Ensemble
    knowledge: Known
    counts: list[int]


def grow(
    ensemble: Ensemble, knowledge: Known, task: Task, agents: Sequence[NewAgent], first: int
) -> Grown:
    """A model of any family with further agents.

    Args:
        ensemble: The model.
        knowledge: What it knows of agents.
        task: Its task.
        agents: The new agents, :meth:`NewAgent.checked`.
        first: Index of the first of them.

    Raises:
        TypeError: If the model can take no agents.
        ValueError: If it keeps no prior of its population.
    """
    if isinstance(ensemble, MixtureEnsemble):
        return _grow_mixture(ensemble, knowledge, task, agents, first)
    if ensemble.linear:
        known = knowledge_in(ensemble, knowledge)
        model = FactorModel(ensemble, known.prior)
        posteriors = [
            AgentPosterior(model, task).update(new.states, new.actions, new.next_obs)
            for new in agents
        ]
        return grow_by(ensemble, known, posteriors, first)
    if isinstance(ensemble, FrameEnsemble) and isinstance(ensemble.model, LatentNetwork):
        return _grow_latent(ensemble, ensemble.model, knowledge, task, agents, first)
    raise TypeError(
        "this simulator's model is not linear in what is personal, and no other way is known to "
        "add agents to it: fit again with their data, or with method='als'"
    )


def grow_by(
    ensemble: Ensemble, knowledge: Knowledge, posteriors: Sequence[AgentPosterior], first: int
) -> Grown:
    """A model that is linear in an agent's factor, with agents of some posteriors."""
    drawn = [known.draw(index) for index, known in enumerate(posteriors, start=first)]
    grown = knowledge.append(posteriors, first)
    counts = [known.count for known in posteriors]
    return Grown(_with_more(ensemble, torch.stack(drawn, dim=1)), grown, counts)


def knowledge_in(ensemble: Ensemble, knowledge: Known) -> Knowledge:
    """What a model of one family knows of each agent, and its population as a prior.

    Raises:
        TypeError: If the model is a mixture.
        ValueError: If the simulator was fitted before these were kept.
    """
    if isinstance(ensemble, MixtureEnsemble):
        raise TypeError(
            "this simulator is a mixture of models, and each of them has a prior of its own: "
            "sim.posterior(agent).parts has an agent's posterior in each"
        )
    if not isinstance(knowledge, Knowledge):
        raise ValueError(NO_PRIOR)
    return knowledge


def _with_more(ensemble: Ensemble, factors: Tensor) -> Ensemble:
    """The same model with agents of further factors ``[m, n, r]``."""
    old = ensemble.agent_factors()
    return ensemble.with_factors(torch.cat([old, factors.to(old)], dim=1))


def _grow_mixture(
    mixture: MixtureEnsemble,
    knowledge: Known,
    task: Task,
    agents: Sequence[NewAgent],
    first: int,
) -> Grown:
    known: tuple[Known, ...] = (None,) * len(mixture.parts)
    if isinstance(knowledge, MixedKnowledge):
        known = knowledge.parts
    parts = []
    for part, own in zip(mixture.parts, known, strict=True):
        seen = [replace(new, states=mixture.seen_by(part, new.states)) for new in agents]
        parts.append(grow(part, own, task, seen, first))
    return joined_parts(mixture, parts)


def joined_parts(mixture: MixtureEnsemble, parts: Sequence[Grown]) -> Grown:
    """A mixture whose parts have grown."""
    ensemble = MixtureEnsemble([part.ensemble for part in parts], mixture.times)
    grown = MixedKnowledge(tuple(part.knowledge for part in parts))
    return Grown(ensemble, grown, parts[0].counts)


def _grow_latent(
    ensemble: FrameEnsemble,
    network: LatentNetwork,
    knowledge: Known,
    task: Task,
    agents: Sequence[NewAgent],
    first: int,
) -> Grown:
    """Members have latents of their own; each takes the most likely one."""
    prior = knowledge.prior if isinstance(knowledge, Knowledge) else prior_of_latents(ensemble)
    model = LatentModel(ensemble, prior)
    counts = [len(new.states) for new in agents]
    whose = torch.arange(len(agents), device=ensemble.device)
    whose = whose.repeat_interleave(torch.as_tensor(counts, device=whose.device))
    states, actions, next_obs = (
        torch.cat([getattr(new, name) for new in agents])
        for name in ("states", "actions", "next_obs")
    )
    rows = model.rows(task, whose, states, actions, next_obs, len(agents))
    latents = posterior(network, rows, frame=model.frame, starts=STARTS)[0]
    grown = knowledge
    if isinstance(knowledge, Knowledge):
        w = model.personal(latents)
        found = around(w, model.curvature(w, rows))
        posteriors = [
            LatentPosterior(model, task, found.select([place])) for place in range(len(agents))
        ]
        grown = knowledge.append(posteriors, first)
    return Grown(_with_more(ensemble, latents), grown, counts)
