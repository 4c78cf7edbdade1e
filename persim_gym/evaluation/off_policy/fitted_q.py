"""Fitted-Q evaluation: a policy's value from transitions alone, in closed form for all agents.

With ``h`` steps to go the value is a quadratic function of state and action, fitted to the reward
and the value with one step less: ``h`` ridge regressions that share one matrix. An agent's function
is the one of all agents and a difference, which a ridge penalty keeps small where its record is
short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.off_policy.target_policy import Decider
from persim_gym.learned.fitting.plain_models import products_by_agent, terms_of, with_angles
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Ridge penalty of an agent's difference from all, and of all, in transitions.
RIDGE, LITTLE = 1.0, 1e-3
#: Terms up to which functions are quadratic, and transitions that are used.
MOST_TERMS, ROWS = 60, 100_000
#: Decisions over which the policy's value of a state is averaged, if it draws them.
DRAWS = 8


@dataclass(frozen=True, slots=True)
class _Features:
    """Terms of observations and actions.

    Attributes:
        centre: Of the inputs.
        scale: Of the inputs.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
        choices: Number of discrete actions, 0 where they are continuous.
        quadratic: Whether products are among the terms.
    """

    centre: Floats
    scale: Floats
    turn: Floats
    choices: int
    quadratic: bool

    @classmethod
    def of(cls, data: Transitions, turn: Floats, choices: int) -> _Features:
        """Scaled by data."""
        plain = _inputs(data.obs, data.action, turn, choices)
        width = plain.shape[1]
        terms = (1 + width + width * (width + 1) // 2) * max(1, choices)
        scale = plain.std(0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        return cls(plain.mean(0), scale, turn, choices, terms <= MOST_TERMS)

    def terms(self, obs: NDArray[np.float32], action: NDArray[np.generic]) -> Floats:
        """``[n, p]``; of discrete actions a block for each, 0 where another was taken."""
        x = (_inputs(obs, action, self.turn, self.choices) - self.centre) / self.scale
        found = terms_of(x, 2 if self.quadratic else 1)
        if not self.choices:
            return found
        taken = np.eye(self.choices)[action.astype(np.int64)]
        return (taken[:, :, None] * found[:, None]).reshape(len(x), -1)


def fitted_q(
    data: Transitions,
    rewards: Floats,
    decider: Decider,
    starts: NDArray[np.int64],
    steps: int,
    discount: float,
    turn: Floats,
    choices: int,
    rng: np.random.Generator,
) -> Floats:
    """The policy's value over ``steps`` steps from recorded states ``[n]``.

    Args:
        data: Transitions, of any behaviour.
        rewards: Theirs ``[T]``.
        decider: The policy.
        starts: Rows whose states are asked for ``[n]``.
        steps: Steps to go.
        discount: Of rewards.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
        choices: Number of discrete actions, 0 where they are continuous.
        rng: Of a policy that draws.
    """
    features = _Features.of(data, turn, choices)
    order = np.argsort(data.agent, kind="stable")
    order = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), ROWS)).astype(np.int64))]
    agent = data.agent[order]
    x = features.terms(data.obs[order], data.action[order])
    after = _expected(features, decider, agent, data.next_obs[order], rng)
    going = ~data.terminated[order]
    there, place = np.unique(agent, return_inverse=True)
    begins = np.flatnonzero(np.append(True, agent[1:] != agent[:-1]))
    p = x.shape[1]
    common = np.linalg.solve(x.T @ x + LITTLE * np.eye(p), x.T)
    gram = products_by_agent(x, x, place, len(there))
    inverse = np.linalg.inv(gram + RIDGE * np.eye(p))
    earned = rewards[order]
    low, high = min(float(earned.min()), 0.0), max(float(earned.max()), 0.0)
    reach, shared, own = 0.0, np.zeros(p), np.zeros((len(there), p))
    for _ in range(steps):
        # No value is beyond what so many of the least or largest rewards make.
        ahead = np.clip(after @ shared + (after * own[place]).sum(1), reach * low, reach * high)
        value, reach = np.where(going, ahead, 0.0), reach * discount + 1.0
        target = earned + discount * value
        shared = common @ target
        rest = x * (target - x @ shared)[:, None]
        own = np.einsum("kpq,kq->kp", inverse, np.add.reduceat(rest, begins))
    asked = _expected(features, decider, data.agent[starts], data.obs[starts], rng)
    whose = np.searchsorted(there, data.agent[starts])
    return np.asarray(asked @ shared + (asked * own[whose]).sum(1))


def _expected(
    features: _Features,
    decider: Decider,
    agent: NDArray[np.int64],
    obs: NDArray[np.float32],
    rng: np.random.Generator,
) -> Floats:
    """Terms under the policy, averaged over its draws ``[n, p]``."""
    draws = DRAWS if decider.random else 1
    total = features.terms(obs, decider.actions(agent, obs, rng))
    for _ in range(draws - 1):
        total += features.terms(obs, decider.actions(agent, obs, rng))
    return total / draws


def _inputs(
    obs: NDArray[np.float32], action: NDArray[np.generic], turn: Floats, choices: int
) -> Floats:
    """Observations, angles as cosine and sine, and continuous actions."""
    seen = with_angles(obs.astype(np.float64), turn)
    return seen if choices else np.concatenate([seen, action.astype(np.float64)], axis=1)
