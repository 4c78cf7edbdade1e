"""Agents with quadratic coefficients of their own, and the error of what was fitted to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.hierarchical.fit import HierarchicalFit


class World:
    """Each agent has a full set of quadratic coefficients of its own, in two coordinates."""

    def __init__(self, agents: int, rank: int | None = None, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.agents = agents
        spread = rng.normal(size=(12, 12 if rank is None else rank)) / 4.0
        self.own = rng.normal(size=12) / 2.0 + rng.normal(size=(agents, spread.shape[1])) @ spread.T
        self.own = self.own.reshape(agents, 2, 6)

    def change(self, agent: Any, z: NDArray[Any]) -> NDArray[Any]:
        one = np.ones(len(z))
        phi = [one, z[:, 0], z[:, 1], z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2]
        return np.einsum("ncp,np->nc", self.own[agent], np.stack(phi, 1))

    def record(self, steps: int, noise: float = 0.0, seed: int = 1) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(seed)
        agent = np.repeat(np.arange(self.agents), steps)
        z = rng.uniform(-1.5, 1.5, (len(agent), 2))
        y = self.change(agent, z) + noise * rng.normal(size=z.shape)
        return z, y, agent


def error(fit: HierarchicalFit, world: World, seed: int = 9) -> NDArray[Any]:
    """Root mean square error of each agent's mean prediction."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(world.agents), 20)
    z = rng.uniform(-1.4, 1.4, (len(agent), 2))
    found = fit.model.change(torch.as_tensor(agent), torch.as_tensor(z)).mean(0).numpy()
    left = ((found - world.change(agent, z)) ** 2).mean(1).reshape(world.agents, 20)
    return np.asarray(np.sqrt(left.mean(1)))
