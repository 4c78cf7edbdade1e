"""Agents that were not in training: worlds in which the right answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.data import Data
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, transitions

Rows = tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]


class GaussianWorld:
    """Quadratic laws of two coordinates; agents have standard normal shares in two of them.

    Three actions. With ``hidden``, agents also have a share in a law that no model of rank three
    can tell apart from noise. Noise may be Gaussian, or rarely large.
    """

    def __init__(
        self, noise: float = 0.0, hidden: float = 0.0, rare: bool = False, lag: int = 1
    ) -> None:
        rng = np.random.default_rng(3)
        self.weights = 0.1 * rng.normal(size=(3, 3, 6 * lag, 2))
        self.secret = rng.normal(size=(6 * lag, 2))
        self.noise, self.hidden, self.rare, self.lag = noise, hidden, rare, lag
        self.task = PlainTask.of(2, actions=3)

    def shares(self, agents: int, seed: int) -> NDArray[np.float64]:
        drawn = np.random.default_rng([seed, 1]).normal(size=(agents, 3))
        return np.concatenate([np.ones((agents, 1)), drawn], axis=1)

    def rows(self, shares: NDArray[np.float64], seed: int, slow: bool = False) -> Rows:
        """A transition of each row of ``shares [n, 4]``, in a state of its own.

        If ``slow``, states go around in circles instead, once in a hundred steps.
        """
        rng = np.random.default_rng([seed, 2])
        n = len(shares)
        states = rng.uniform(-1, 1, size=(n, self.lag, 2)).astype(np.float32)
        if slow:
            turn = np.arange(n) / 100
            circle = 0.9 * np.stack([np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)], axis=1)
            states = (circle[:, None] + 0.1 * states).astype(np.float32)
        actions = rng.integers(3, size=n)
        phi = []
        for past in range(self.lag):
            x, y = states[:, past].astype(np.float64).T
            phi += [np.ones(n), x, y, x * x, x * y, y * y]
        basis = np.stack(phi, axis=1)
        change = np.einsum("nr,np,nrpd->nd", shares[:, :3], basis, self.weights[actions])
        change += self.hidden * shares[:, 3:] * np.sin(basis @ self.secret)
        size = np.where(rng.random((n, 2)) < 0.1, 5.0, 0.2) if self.rare else 1.0
        following = states[:, -1] + change + self.noise * size * rng.normal(size=(n, 2))
        shown = states[:, 0] if self.lag == 1 else states
        return shown, actions, following.astype(np.float32)

    def record(
        self, agents: int = 80, steps: int = 40, seed: int = 0, slow: bool = False
    ) -> Transitions:
        """Transitions of agents, each in a state of its own."""
        shares = np.repeat(self.shares(agents, seed), steps, axis=0)
        obs, actions, following = self.rows(shares, seed, slow)
        whose = np.repeat(np.arange(agents), steps)
        return transitions(whose, obs, actions, following, episode=np.arange(len(whose)))

    def fit(self, data: Transitions | None = None, **options: Any) -> PerSim:
        settings: dict[str, Any] = {"degree": 2, "rank": 3, "threshold": 0.0, "ensemble_size": 3}
        data = self.record() if data is None else data
        return PerSim.fit(data, task=self.task, method="als", **{**settings, **options})

    def new_agent(self, steps: int, seed: int = 50) -> Rows:
        return self.rows(np.repeat(self.shares(1, seed), steps, axis=0), seed)


def part(rows: Rows, first: int, end: int) -> Rows:
    obs, actions, following = rows
    return obs[first:end], actions[first:end], following[first:end]


def error(sim: PerSim, agent: int, rows: Rows) -> float:
    predicted = sim.predict(agent, *rows[:2])
    return float(np.sqrt(np.mean((predicted - rows[2]) ** 2)))


def network(data: Data, ensemble: FrameEnsemble, members: int = 1) -> FrameEnsemble:
    """A network of random weights in a frame, whose agents are drawn from its prior."""
    q, c, n = ensemble.frame.size, ensemble.frame.targets, data.transitions.num_agents
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(members, n, 2, generator=generator)
    made_ = LatentNetwork.initial(LatentShape(members, n, q, c, 2, (16, 16)), latents, generator)
    quiet = made_.with_tensors(noise=torch.full((members, c), 1e-6))
    bounds = data.task.observation_space
    ends = (torch.as_tensor(end.copy()) for end in (bounds.low, bounds.high))
    return FrameEnsemble(ensemble.frame.to("cpu", torch.float32), quiet, *ends)
