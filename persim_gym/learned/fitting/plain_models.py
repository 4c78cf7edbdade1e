"""Plain models to compare with: ridge regression of the change, for each agent or for all.

They have no settings to choose and take a moment: what a spreadsheet could do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Array
from persim_gym.learned.circular import short_way
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Products that are in memory together.
BLOCK = 2**21
#: Ridge penalty in transitions of an agent: with few of them the model is near persistence.
RIDGE = 0.01


@dataclass(frozen=True, slots=True)
class RidgeModels:
    """The change of each agent's observation as a polynomial of observation and action.

    Attributes:
        weights: ``[N, p, d]``.
        centre: Of the inputs ``[p]``.
        scale: Of the inputs ``[p]``.
        low: What predictions are held above: a width below the recorded range ``[d]``.
        high: What they are held below ``[d]``.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
        choices: Number of discrete actions, 0 where actions are continuous.
        degree: 1 or 2.
    """

    weights: Floats
    centre: Floats
    scale: Floats
    low: Floats
    high: Floats
    turn: Floats
    choices: int
    degree: int = 1
    lag: int = 1

    @classmethod
    def fit(cls, data: Transitions, turn: Floats, choices: int, degree: int = 1) -> RidgeModels:
        """Fit all agents by ridge regression, in closed form.

        Args:
            data: The transitions.
            turn: Full turns ``[d]``.
            choices: Number of discrete actions, 0 where actions are continuous.
            degree: 1 or 2.
        """
        inputs = _inputs(data.obs.astype(np.float64), data.action, turn, choices)
        centre, scale = inputs.mean(0), inputs.std(0)
        scale[scale < 1e-12] = 1.0
        inputs = terms_of((inputs - centre) / scale, degree)
        change = short_way(data.change(np.arange(len(data))), turn)
        p, agents = inputs.shape[1], data.num_agents
        gram = products_by_agent(inputs, inputs, data.agent, agents)
        cross = products_by_agent(inputs, change, data.agent, agents)
        gram += RIDGE * np.eye(p)
        low = np.minimum(data.obs.min(0), data.next_obs.min(0)).astype(np.float64)
        high = np.maximum(data.obs.max(0), data.next_obs.max(0)).astype(np.float64)
        room = np.where(turn > 0, np.inf, high - low)
        weights: Floats = np.linalg.solve(gram, cross).astype(np.float64)
        return cls(weights, centre, scale, low - room, high + room, turn, choices, degree)

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Floats:
        """Predictions ``[1, n, h, d]``; see :meth:`persim_gym.learned.PerSim.rollout`."""
        now, acted = np.asarray(obs, dtype=np.float64), np.asarray(actions)
        own, steps = self.weights[np.asarray(agents)], []
        for step in range(acted.shape[1]):
            inputs = _inputs(now, acted[:, step], self.turn, self.choices)
            terms = terms_of((inputs - self.centre) / self.scale, self.degree)
            change = np.einsum("np,npd->nd", terms, own)
            now = np.clip(now + change, self.low, self.high)
            steps.append(now)
        return np.stack(steps, axis=1)[None]


def products_by_agent(left: Floats, right: Floats, agent: NDArray[np.int64], agents: int) -> Floats:
    """Sums over each agent's rows of products ``[N, p, q]`` of ``[T, p]`` and ``[T, q]``."""
    found = np.zeros((agents, left.shape[1], right.shape[1]))
    order = np.argsort(agent, kind="stable")
    size = max(1, BLOCK // (left.shape[1] * right.shape[1]))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        own = agent[rows]
        begins = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
        part = left[rows][:, :, None] * right[rows][:, None]
        found[own[begins]] += np.add.reduceat(part, begins)
    return found


def with_angles(obs: Floats, turn: Floats) -> Floats:
    """Observations ``[n, d]`` with angles, of a full ``turn`` above 0, as cosine and sine."""
    plain, round_ = turn == 0, turn > 0
    angle = 2 * np.pi * obs[:, round_] / turn[round_]
    return np.concatenate([obs[:, plain], np.cos(angle), np.sin(angle)], axis=1)


def _inputs(obs: Floats, action: NDArray[np.generic], turn: Floats, choices: int) -> Floats:
    """Observations, angles as cosine and sine, and actions ``[n, p]``."""
    acted = np.eye(choices)[action] if choices else action.astype(np.float64)
    return np.concatenate([with_angles(obs, turn), acted], axis=1)


def terms_of(inputs: Floats, degree: int) -> Floats:
    """1, the inputs, and with a degree of 2 their products ``[n, p]``."""
    parts = [np.ones((len(inputs), 1)), inputs]
    if degree == 2:
        first, second = np.triu_indices(inputs.shape[1])
        parts.append(inputs[:, first] * inputs[:, second])
    return np.concatenate(parts, axis=1)
