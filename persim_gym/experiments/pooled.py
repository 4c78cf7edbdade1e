"""A pooled model as dynamics that can be planned in."""

from __future__ import annotations

from typing import Any

from persim_gym.core import Array
from persim_gym.learned.simulator import PerSim


class PooledDynamics:
    """A pooled model as the dynamics of many agents, all alike.

    Args:
        sim: The model, a simulator of one agent.
        num_agents: How many agents there are.
    """

    def __init__(self, sim: PerSim, num_agents: int) -> None:
        self.sim, self.num_agents = sim, num_agents
        self.task, self.lag, self.device = sim.task, sim.lag, sim.device
        self.recall, self.follow = sim.recall, sim.follow

    def step(self, agents: Array, states: Array, actions: Array) -> Array:
        """Next observations, the same for all agents."""
        return self.sim.step(agents * 0, states, actions)

    def unroll(self, agents: Any, states: Any, actions: Any, mode: Any) -> Any:
        """See :meth:`persim_gym.learned.PerSim.unroll`."""
        return self.sim.unroll(agents * 0, states, actions, mode)
