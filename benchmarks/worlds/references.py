"""Simple references on the same transitions, and how each of them is rolled out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.offline.transitions import Transitions

from .recording import Recording, Tests
from .world import Floats

#: Ridges of which each agent's own regression chooses, and agents by whom it does.
RIDGES, JUDGES = 10.0 ** np.arange(-6, 4), 60


class Windows:
    """Transitions as regressions see them: observations and actions of a window of time.

    Angles enter as cosine and sine, and their change is the shorter way round.

    Args:
        transitions: The data.
        lag: Observations, and actions, of a window.
        angles: Coordinates that are wrapped angles.
    """

    def __init__(self, transitions: Transitions, lag: int, angles: tuple[int, ...]) -> None:
        t = transitions
        self.lag, self.angles, self.num_agents = lag, list(angles), t.num_agents
        self.choices = int(t.action.max()) + 1 if t.action.ndim == 1 else 0
        rows = np.flatnonzero(t.step >= lag - 1)
        window = rows[:, None] + np.arange(1 - lag, 1)
        inputs = self._flat(t.obs[window].astype(np.float64), self.coded(t.action)[window])
        self.centre, self.scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
        self.inputs = (inputs - self.centre) / self.scale
        change = t.next_obs[rows].astype(np.float64) - t.obs[rows]
        change[:, self.angles] = (change[:, self.angles] + np.pi) % (2 * np.pi) - np.pi
        self.unit = change.std(axis=0) + 1e-12
        self.targets = change / self.unit
        self.agents = t.agent[rows]
        # The last fifth of every agent's rows judges what is fitted on the others.
        order = np.arange(len(rows)) - np.searchsorted(self.agents, self.agents)
        self.late = order >= 0.8 * np.bincount(self.agents, minlength=t.num_agents)[self.agents]
        low, high = np.minimum(t.obs, t.next_obs).min(0), np.maximum(t.obs, t.next_obs).max(0)
        self.low, self.high = low - (high - low), high + (high - low)

    def coded(self, actions: NDArray[Any]) -> Floats:
        """Actions ``[...]`` or ``[..., a]`` as numbers ``[..., a]``."""
        if self.choices:
            return np.eye(self.choices)[actions][..., 1:]
        return np.asarray(actions, dtype=np.float64)

    def __call__(self, obs: Floats, actions: Floats) -> Floats:
        """Scaled inputs ``[n, q]`` of windows ``[n, l, d]`` and ``[n, l, a]``."""
        return (self._flat(obs, actions) - self.centre) / self.scale

    def _flat(self, obs: Floats, actions: Floats) -> Floats:
        turned = obs[..., self.angles]
        plain = np.delete(obs, self.angles, axis=-1)
        parts = (plain, np.cos(turned), np.sin(turned), actions)
        return np.concatenate([part.reshape(len(obs), -1) for part in parts], axis=1)

    def moved(self, obs: Floats, change: Floats) -> Floats:
        """Next observations ``[n, d]``, held within a width around the recorded range."""
        following = np.nan_to_num(obs + change * self.unit, nan=0.0)
        turned = following[:, self.angles]
        following[:, self.angles] = np.pi - (np.pi - turned) % (2 * np.pi)
        return np.clip(following, self.low, self.high)


class Reference(ABC):
    """A regression of scaled changes on scaled windows.

    Args:
        windows: The data.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    @abstractmethod
    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        """Scaled changes ``[n, d]`` of agents ``[n]`` under inputs ``[n, q]``."""

    def rollout(self, tests: Tests) -> Floats:
        """Open-loop predictions ``[n, h, d]``."""
        w, lag = self.windows, self.windows.lag
        obs = tests.past[:, -lag:]
        actions = np.concatenate([tests.past_actions, tests.actions], axis=1)
        coded = w.coded(actions)[:, tests.past_actions.shape[1] + 1 - lag :]
        steps = []
        for time in range(tests.actions.shape[1]):
            change = self.change(tests.agents, w(obs, coded[:, time : time + lag]))
            steps.append(w.moved(obs[:, -1], change))
            obs = np.concatenate([obs[:, 1:], steps[-1][:, None]], axis=1)
        return np.stack(steps, axis=1)


class Persistence(Reference):
    """Nothing changes."""

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return np.zeros((len(agents), len(self.windows.unit)))


def quadratic(inputs: Floats) -> Floats:
    """A constant, inputs ``[n, q]`` and their products in pairs."""
    left, right = np.triu_indices(inputs.shape[1])
    products = inputs[:, left] * inputs[:, right]
    return np.concatenate([np.ones((len(inputs), 1)), inputs, products], axis=1)


class PooledQuadratic(Reference):
    """One quadratic regression for all agents."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        features = quadratic(windows.inputs)
        gram = features.T @ features
        ridge = 1e-8 * np.diag(np.diag(gram) + 1e-9)
        self.weights = np.linalg.solve(gram + ridge, features.T @ windows.targets)

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return quadratic(inputs) @ self.weights


class OwnQuadratic(Reference):
    """Each agent's own ridge regression; the ridge is chosen on late steps, one for all."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        features = quadratic(windows.inputs)
        centre = self.centre()
        left = windows.targets - features @ centre
        early = self._sums(features, left, ~windows.late)
        judged = np.flatnonzero(windows.late & (windows.agents < JUDGES))
        losses = []
        for ridge in RIDGES:
            own = _solved(*early, ridge)[windows.agents[judged]]
            guess = np.einsum("nf,nfd->nd", features[judged], own)
            losses.append(np.square(left[judged] - guess).sum())
        best = RIDGES[int(np.argmin(losses))]
        every = np.ones_like(windows.late)
        self.weights = centre + _solved(*self._sums(features, left, every), best)

    def centre(self) -> Floats:
        """Weights that are shrunk to ``[F, d]``: zero, where nothing changes."""
        w = self.windows
        q = w.inputs.shape[1]
        return np.zeros((1 + q + q * (q + 1) // 2, len(w.unit)))

    def _sums(
        self, features: Floats, left: Floats, rows: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Each agent's ``[N, F, F]`` and ``[N, F, d]``."""
        agents, size = self.windows.num_agents, features.shape[1]
        gram, moment = np.zeros((agents, size, size)), np.zeros((agents, size, left.shape[1]))
        for agent in range(agents):
            own = rows & (self.windows.agents == agent)
            gram[agent] = features[own].T @ features[own]
            moment[agent] = features[own].T @ left[own]
        return gram, moment

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return np.einsum("nf,nfd->nd", quadratic(inputs), self.weights[agents])


class ShrunkQuadratic(OwnQuadratic):
    """The same, shrunk to the regression for all."""

    def centre(self) -> Floats:
        return np.asarray(PooledQuadratic(self.windows).weights)


def _solved(gram: Floats, moment: Floats, ridge: float) -> Floats:
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(gram.shape[1]), moment))


class Embedding(Reference):
    """A network of two layers with a vector for each agent, as one writes it in an afternoon."""

    WIDTH, SIZE, BATCH, STEPS, RATE = 128, 8, 256, 5000, 3e-3

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        nn, width = torch.nn, self.WIDTH
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.vectors = nn.Embedding(windows.num_agents, self.SIZE)
            self.layers = nn.Sequential(
                nn.Linear(windows.inputs.shape[1] + self.SIZE, width), nn.SiLU(),
                nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(windows.unit)),
            )  # fmt: skip
        self._train(torch.Generator().manual_seed(0))

    def _train(self, generator: torch.Generator) -> None:
        w = self.windows
        inputs, targets = (torch.tensor(x, dtype=torch.float32) for x in (w.inputs, w.targets))
        agents = torch.tensor(w.agents)
        trained = [*self.vectors.parameters(), *self.layers.parameters()]
        optimiser = torch.optim.AdamW(trained, self.RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.RATE, total_steps=self.STEPS)
        for _ in range(self.STEPS):
            rows = torch.randint(len(inputs), (self.BATCH,), generator=generator)
            left = self._outputs(inputs[rows], agents[rows]) - targets[rows]
            optimiser.zero_grad()
            left.square().mean().backward()
            optimiser.step()
            schedule.step()

    def _outputs(self, inputs: torch.Tensor, agents: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([inputs, self.vectors(agents)], dim=1))

    @torch.no_grad()
    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        rows = torch.tensor(inputs, dtype=torch.float32), torch.tensor(agents)
        return self._outputs(*rows).double().numpy()


def windows_of(recording: Recording) -> Windows:
    """The windows of a recording, as long as the world's hidden state needs them."""
    t, world = recording.transitions, recording.world
    longest = int(t.lengths.max())
    return Windows(t, min(world.lag, longest), world.angles)
