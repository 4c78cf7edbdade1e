"""Records of a known law, and predictors that are wrong by a known part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.family_choice import Candidate
from persim_gym.learned.comparison.holdout import Record

PULL = np.linspace(0.1, 0.4, 20)


class Known:
    """The true law, wrong by ``wrong`` of its change, with a drift."""

    def __init__(self, wrong: float = 0.0, drift: float = 0.0) -> None:
        self.wrong, self.drift = wrong, drift

    def rollout(self, agents: Any, states: NDArray[Any], actions: NDArray[Any]) -> NDArray[Any]:
        now, out = states.astype(float), []
        for t in range(actions.shape[1]):
            change = actions[:, t] - PULL[agents][:, None] * now
            now = now + (1 - self.wrong) * change + self.drift
            out.append(now)
        return np.stack(out, 1)


def record(steps: int, agents: int = 20, seed: int = 0) -> Record:
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(agents), steps)
    actions = rng.uniform(-1, 1, (agents, steps, 1))
    states = rng.uniform(-1, 1, (agents, 1))
    after = Known().rollout(np.arange(agents), states, actions)
    before = np.concatenate([states[:, None], after[:, :-1]], 1)
    flat = (part.reshape(agents * steps, -1) for part in (before, actions, after))
    obs, acted, following = flat
    return Record(agent, agent, obs, acted, following, following.std(0))


def of(predictor: Any) -> Candidate:
    return Candidate(lambda rows: predictor)
