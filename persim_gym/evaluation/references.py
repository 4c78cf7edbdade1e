"""What predicts open loop beside a simulator: persistence and the pooled model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Array
from persim_gym.offline.transitions import Transitions


class Predictor(Protocol):
    """Whatever predicts open loop: a simulator, or one of the references below."""

    @property
    def lag(self) -> int:
        """Observations that a state holds."""

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Predictions ``[m, n, h, d]``; see :meth:`persim_gym.learned.PerSim.rollout`."""


@runtime_checkable
class Remembering(Protocol):
    """A model whose states hold the actions between observations."""

    def states(self, obs: Array, actions: Array) -> Array:
        """States of observations and actions; see :meth:`persim_gym.learned.PerSim.states`."""

    def states_of(self, data: Transitions) -> NDArray[np.float32]:
        """States of transitions; see :meth:`persim_gym.learned.PerSim.states_of`."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """The last observation is the prediction: what any simulator must beat."""

    lag: int = 1

    def rollout(self, agents: Array, obs: Array, actions: Array) -> NDArray[np.float64]:
        """The observations ``[n, d]`` repeated: ``[1, n, h, d]``."""
        obs, actions = np.asarray(obs), np.asarray(actions)
        shape = (1, len(obs), actions.shape[1], obs.shape[1])
        return np.broadcast_to(obs[None, :, None], shape).copy()


@dataclass(frozen=True, slots=True)
class PooledModel:
    """One model of all agents: whichever is asked for, agent 0 of ``sim`` answers.

    Attributes:
        sim: A simulator fitted on :func:`pooled` transitions.
    """

    sim: Predictor

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.sim.lag

    def states_of(self, data: Transitions) -> NDArray[np.float32]:
        """See :meth:`persim_gym.learned.PerSim.states_of`."""
        return self.sim.states_of(data) if isinstance(self.sim, Remembering) else data.obs

    def states(self, obs: Array, actions: Array) -> Array:
        """See :meth:`persim_gym.learned.PerSim.states`."""
        return self.sim.states(obs, actions) if isinstance(self.sim, Remembering) else obs

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Predictions ``[m, n, h, d]``, the same for all agents."""
        return self.sim.rollout(np.zeros(len(agents), dtype=np.int64), obs, actions)


def pooled(transitions: Transitions) -> Transitions:
    """The same transitions as of one agent: what a pooled model is fitted on."""
    return dataclasses.replace(
        transitions,
        agent=np.zeros_like(transitions.agent),
        num_agents=1,
        population=None,
        agent_names=None,
    )
