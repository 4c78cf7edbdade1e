"""`ServedDynamics`: what a learned model passes on to shells that step it in a way of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.dynamics import LearnedDynamics


class ServedDynamics:
    """A learned model as a dynamics for the shells; a subclass says how its episodes go on."""

    def __init__(self, sim: LearnedDynamics) -> None:
        self.sim = sim

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return self.sim.num_agents

    @property
    def agent_names(self) -> tuple[str, ...] | None:
        """What the agents are called in the data ``[N]``, or ``None``."""
        return self.sim.agent_names

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.sim.lag

    def agent_indices(self, agents: Any) -> Any:
        """Agents by name or index as indices; see :meth:`LearnedDynamics.agent_indices`."""
        return self.sim.agent_indices(agents)

    def check_seen(self, agents: NDArray[np.int64]) -> None:
        """Refuse agents that nothing was recorded of."""
        self.sim.check_seen(agents)

    def recall(self, obs: Any) -> Any:
        """States in which episodes begin; see :meth:`LearnedDynamics.recall`."""
        return self.sim.recall(obs)

    def follow(self, states: Any, actions: Any, obs: Any) -> Any:
        """States after a step; see :meth:`LearnedDynamics.follow`."""
        return self.sim.follow(states, actions, obs)

    def step(self, agents: Any, states: Any, actions: Any) -> Any:
        """The members' mean, which nothing stops."""
        return self.sim.predict(agents, states, actions)
