"""`AdaptiveDynamics`: simulators that take new agents, and further transitions of known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array
from persim_gym.learned import adaptation
from persim_gym.learned.dynamics import Rows
from persim_gym.learned.posterior.agent import AgentPosterior
from persim_gym.learned.posterior.covariate_map import CovariateMap
from persim_gym.learned.posterior.knowledge import Knowledge, MixedKnowledge
from persim_gym.learned.posterior.mixture import MixedMap
from persim_gym.learned.posterior.new_agents import NewAgent, knowledge_in
from persim_gym.learned.posterior.prior import FactorPrior
from persim_gym.learned.predictive import PredictiveDynamics
from persim_gym.learned.preparation import as_transitions


class AdaptiveDynamics(PredictiveDynamics):
    """Simulators to which agents can be added.

    It is a view of one value that is never changed, its parts. :meth:`adapt`, :meth:`add_agent`,
    :meth:`adapt_covariates`, :meth:`update` and :meth:`rename` make another value and let this
    simulator be it, so that environments and planners that hold it follow; nothing else changes
    it. :meth:`PerSim.view` gives a simulator of its own.
    """

    def rename(self, names: Sequence[str] | None) -> None:
        """Take names of all agents ``[N]``, or none."""
        self._hold(self._parts.named(names))

    @property
    def keeps_posteriors(self) -> bool:
        """Whether agents have posteriors, which :meth:`update` adds transitions to.

        So have those of every family, fitted by :meth:`PerSim.fit` of this version.
        """
        known = self._parts.knowledge
        return known.whole if isinstance(known, MixedKnowledge) else known is not None

    @property
    def knowledge(self) -> Knowledge:
        """The population as a prior, and what is known of each agent beside its factor.

        Raises:
            TypeError: If the model is a mixture, whose parts have priors of their own.
            ValueError: If the simulator was made by an older version or by hand.
        """
        return knowledge_in(self.ensemble, self._parts.knowledge)

    @property
    def prior(self) -> FactorPrior:
        """The population as the prior of a new agent's factor."""
        return self.knowledge.prior

    @overload
    def adapt(self, data: None = None, *, name: str | None = None) -> int: ...

    @overload
    def adapt(
        self,
        data: Rows | Tensor,
        actions: Rows | Tensor,
        next_obs: Rows | Tensor,
        *,
        name: str | None = None,
    ) -> int: ...

    @overload
    def adapt(
        self,
        data: Any,
        *,
        name: str | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
    ) -> int | list[int]: ...

    def adapt(
        self,
        data: Any = None,
        actions: Array | None = None,
        next_obs: Array | None = None,
        *,
        name: str | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
    ) -> int | list[int]:
        """Add agents that were not in training, from a handful of transitions of each.

        Of every family: a Bayesian linear regression where the model is linear in an agent's
        factor, the most likely latent where it is not, and each part of a mixture by itself. In
        milliseconds, with the population as prior. Every face then serves the new agents, and they
        are saved with the simulator. Transitions that end on a bound of the observation space are
        left out, but of networks with latents, which learn what they say. The standard deviation of
        the members is the posterior's where the model is linear: with few transitions environments
        may stop at the guard's limit.

        Args:
            data: Whatever :meth:`fit` takes, of one or several new agents; or observations
                ``[n, d]`` of one agent (with a ``lag``, states ``[n, l, w]``), with ``actions`` and
                ``next_obs``; or nothing, for an agent that is the population's mean.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.
            name: What a single agent is called.
            columns: Of a table, as in :meth:`fit`.
            agent_of: Of a Minari data set, as in :meth:`fit`.

        Returns:
            The index of the agent, or of several a list in the order of their indices in the data.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If the data are of another task, or a name is taken.
        """
        if name is not None:
            checks.text("name", name)
        if (actions is None) != (next_obs is None):
            raise TypeError("arrays come as three: adapt(obs, actions, next_obs)")
        if actions is not None and next_obs is not None:
            return self.add_agent(NewAgent(data, actions, next_obs, name))
        if data is None:
            return self.add_agent(name=name)
        transitions = as_transitions(data, columns, agent_of)
        agents = adaptation.read_agents(self._parts, transitions, name)
        indices = self._add(adaptation.add(self._parts, agents))
        return indices[0] if len(indices) == 1 else list(indices)

    def add_agent(
        self,
        agent: NewAgent | None = None,
        *,
        name: str | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> int:
        """Add one agent; by default one of whom nothing is known, the population's mean.

        Args:
            agent: Its transitions, and what it is called.
            name: What an agent without transitions is called.
            source: Where that agent is from, in plain types: kept in the card.

        Returns:
            Its index.

        Raises:
            TypeError: If a value has the wrong type, or the model can take no agents.
            ValueError: If values do not fit the task, or the name is taken.
        """
        new = agent or NewAgent.unknown(self.ensemble, self.task, name, source)
        return self._add(adaptation.add(self._parts, [new]))[0]

    def _add(self, added: adaptation.Added) -> Sequence[int]:
        parts, indices = added
        self._hold(parts)
        return indices

    def update(
        self,
        agent: int | str,
        obs: Array,
        actions: Array,
        next_obs: Array,
        *,
        forget: bool = False,
    ) -> AgentPosterior:
        """Add transitions of an agent as they arrive.

        Adapted agents and those of training alike, of every family; each part of a mixture by
        itself. Where the model is linear in an agent's factor it is exactly as if all had come at
        once. Of networks with latents, what is known is kept as a Gaussian around the most likely
        latent, which is exact as far as the network is linear there. Environments and planners
        hold the simulator: those that were made before follow the new factor from their next step
        on.

        Args:
            agent: Index or name.
            obs: ``[n, d]``, or states ``[n, l, w]`` of a simulator with a ``lag``.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.
            forget: Forget what was known of the agent: these transitions are its whole record.

        Returns:
            What is known of the agent now.

        Raises:
            ValueError: If there is no such agent, the transitions do not fit the task, or the
                simulator was made by an older version or by hand.
        """
        checks.switch("forget", forget)
        if next_obs is None:
            raise TypeError("next_obs must be observations, got None")
        index = self.agent_index(agent)
        parts, posterior = adaptation.update(
            self._parts, index, obs, actions, next_obs, forget=forget
        )
        self._hold(parts)
        return posterior

    def posterior(self, agent: int | str) -> AgentPosterior:
        """What is known of an agent's factor: mean, covariance, intervals of predictions.

        Of a mixture ``.parts`` has the posterior of each part: they share no factor.

        Raises:
            ValueError: If the simulator was made by an older version or by hand.
        """
        return adaptation.posterior_in(self._parts, self.agent_index(agent))

    def new_posterior(self) -> AgentPosterior:
        """What is known of an agent without any transitions: the population."""
        return adaptation.new_posterior_in(self._parts)

    def map_covariates(self, covariates: Any) -> CovariateMap | MixedMap:
        """A map from covariates to factors, from agents whose covariates are known.

        Nothing else ever needs covariates. Of a mixture it is a map for each part.

        Args:
            covariates: Of all agents ``[N, c]``, or of the first ones, who alone are used then;
                rows of nan where they are not known.

        Raises:
            ValueError: If shapes do not fit, fewer than five are known, or the fitted agents were
                too many for their evidence to be kept.
        """
        return adaptation.map_covariates(self._parts, covariates)

    def adapt_covariates(
        self, mapping: CovariateMap | MixedMap, covariates: Any, names: Sequence[str] | None = None
    ) -> list[int]:
        """Add agents by their covariates ``[n, c]`` alone; :meth:`update` adds transitions later.

        Args:
            mapping: What :meth:`map_covariates` of this simulator has made.
            covariates: Theirs.
            names: What they are called ``[n]``.

        Returns:
            Their indices.

        Raises:
            ValueError: If shapes do not fit, or a name is taken.
        """
        added = adaptation.add_by_covariates(self._parts, mapping, covariates, names)
        return list(self._add(added))
