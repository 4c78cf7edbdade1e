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
from persim_gym.learned.frames.ensemble import FrameEnsemble
from persim_gym.learned.latent.loss import LatentData
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.latent.posterior import posterior
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.agent import AgentPosterior, check_rows, off_bounds
from persim_gym.learned.posterior.knowledge import Knowledge, Known, MixedKnowledge
from persim_gym.learned.posterior.prior import FactorModel


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
        known = linear_knowledge(ensemble, knowledge, "adapt")
        model = FactorModel(ensemble, known.prior)
        posteriors = [
            AgentPosterior(model, task).update(new.states, new.actions, new.next_obs)
            for new in agents
        ]
        return grow_by(ensemble, known, posteriors, first)
    if isinstance(ensemble, FrameEnsemble) and isinstance(ensemble.model, LatentNetwork):
        return _grow_latent(ensemble, ensemble.model, task, agents)
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


def linear_knowledge(ensemble: Ensemble, knowledge: Known, what: str) -> Knowledge:
    """The prior of a model that is linear in an agent's factor, and what is known of each agent.

    Args:
        ensemble: The model.
        knowledge: What it knows of agents.
        what: What is asked for, for the message.

    Raises:
        TypeError: If the model is of another family.
        ValueError: If the simulator was fitted before these were kept.
    """
    if isinstance(ensemble, MixtureEnsemble) or not ensemble.linear:
        kind = "is a mixture of models"
        if not isinstance(ensemble, MixtureEnsemble):
            kind = "has a model that is not linear in what is personal"
        raise TypeError(
            f"{what} is for models that are linear in an agent's factor, and this simulator {kind}:"
            " adapt(...) adds agents from all of their transitions; a fit with method='als', "
            "'sgd' or 'hierarchical' carries the rest"
        )
    if not isinstance(knowledge, Knowledge):
        raise ValueError(
            "this simulator keeps no prior of its population, for it was made by an older "
            "version or by hand: fit it again with PerSim.fit"
        )
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
    ensemble = MixtureEnsemble([part.ensemble for part in parts], mixture.times)
    grown = MixedKnowledge(tuple(part.knowledge for part in parts))
    return Grown(ensemble, grown, parts[0].counts)


def _grow_latent(
    ensemble: FrameEnsemble, network: LatentNetwork, task: Task, agents: Sequence[NewAgent]
) -> Grown:
    """Members have latents of their own; each takes the most likely one."""
    frame, d = ensemble.frame.to(ensemble.device, torch.float64), ensemble.obs_dim
    features, changes, counts = [], [], []
    for new in agents:
        states, actions, next_obs = off_bounds(task, new.states, new.actions, new.next_obs)
        features.append(frame.features(states, actions))
        changes.append(frame.change(states[:, -d:], next_obs))
        counts.append(len(states))
    whose = np.repeat(np.arange(len(agents)), counts)
    data = LatentData(
        torch.cat(features).cpu().numpy(), torch.cat(changes).cpu().numpy(), whose, whose,
        len(agents),
    )  # fmt: skip
    return Grown(_with_more(ensemble, posterior(network, data)[0]), None, counts)
