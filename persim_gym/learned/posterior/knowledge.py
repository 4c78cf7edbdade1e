"""What a simulator knows of its agents beside their factors: what new agents need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from persim_gym.core import Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.agent import AgentPosterior, Given
from persim_gym.learned.posterior.latents import model_of, posterior_of
from persim_gym.learned.posterior.mixture import MixedPosterior
from persim_gym.learned.posterior.prior import Evidence, FactorPrior


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
        return posterior_of(model_of(ensemble, self.prior), task, own, self.given.get(agent))

    def new_posterior(self, ensemble: Ensemble, task: Task) -> AgentPosterior:
        """The posterior of an agent without any transitions: the population."""
        return posterior_of(model_of(ensemble, self.prior), task)

    def keep(self, agent: int, posterior: AgentPosterior) -> Knowledge:
        """The same with what a posterior says of an agent in the place of what was there."""
        place, evidence = agent - self.first, posterior.evidence
        kept = Evidence(**{name: t.clone() for name, t in self.evidence.tensors().items()})
        kept.precision[:, place] = evidence.precision[:, 0]
        kept.information[:, place] = evidence.information[:, 0]
        kept.count[place] = evidence.count[0]
        given = {k: known for k, known in self.given.items() if k != agent}
        if posterior.given is not None:
            given[agent] = posterior.given
        return replace(self, evidence=kept, given=given)

    def append(self, posteriors: Sequence[AgentPosterior], first: int) -> Knowledge:
        """The same with further agents, of whom the first has an index."""
        given = {
            index: posterior.given
            for index, posterior in enumerate(posteriors, start=first)
            if posterior.given is not None
        }
        evidence = self.evidence.append(*(posterior.evidence for posterior in posteriors))
        return replace(self, evidence=evidence, given=self.given | given)

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


@dataclass(frozen=True, slots=True)
class MixedKnowledge:
    """What each part of a mixture knows.

    Attributes:
        parts: One for each part; ``None`` where the model itself holds what new agents need.
    """

    parts: tuple[Known, ...]

    @property
    def whole(self) -> bool:
        """Whether every part has what posteriors need: files of older versions lack it."""
        return all(isinstance(part, Knowledge) for part in self.parts)

    def posterior(self, ensemble: MixtureEnsemble, task: Task, agent: int) -> MixedPosterior:
        """One agent's posteriors; see :meth:`Knowledge.posterior`."""
        pieces = zip(self.parts, ensemble.parts, strict=True)
        own = [_own(known).posterior(part, task, agent) for known, part in pieces]
        return MixedPosterior(ensemble, task, own)

    def new_posterior(self, ensemble: MixtureEnsemble, task: Task) -> MixedPosterior:
        """Posteriors of an agent without any transitions."""
        pieces = zip(self.parts, ensemble.parts, strict=True)
        own = [_own(known).new_posterior(part, task) for known, part in pieces]
        return MixedPosterior(ensemble, task, own)

    def keep(self, agent: int, posterior: AgentPosterior) -> MixedKnowledge:
        """The same with what a :class:`MixedPosterior` says of an agent in the place of that."""
        assert isinstance(posterior, MixedPosterior)
        pieces = zip(self.parts, posterior.parts, strict=True)
        return MixedKnowledge(tuple(_own(known).keep(agent, own) for known, own in pieces))

    def to(self, device: torch.device | str) -> MixedKnowledge:
        """The same on a device."""
        return MixedKnowledge(tuple(None if p is None else p.to(device) for p in self.parts))

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file; :meth:`to_json` has the rest."""
        return {
            f"knowledge.{number}.{name}": tensor
            for number, part in enumerate(self.parts)
            if part is not None
            for name, tensor in part.tensors().items()
        }

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {"parts": [None if part is None else part.to_json() for part in self.parts]}

    @classmethod
    def from_file(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> MixedKnowledge:
        """What :meth:`tensors`, without its first word, and :meth:`to_json` have given.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is unknown.
        """
        found: list[dict[str, dict[str, Tensor]]] = [{} for _ in plain["parts"]]
        for name, tensor in tensors.items():
            number, part, rest = name.split(".", 2)
            found[int(number)].setdefault(part, {})[rest] = tensor
        pieces = zip(found, plain["parts"], strict=True)
        return cls(tuple(None if p is None else Knowledge.from_file(t, p) for t, p in pieces))


def _own(part: Known) -> Knowledge:
    assert isinstance(part, Knowledge)  # a mixture's parts are no mixtures, and it is whole
    return part


#: What a simulator of any family knows.
Known: TypeAlias = "Knowledge | MixedKnowledge | None"
