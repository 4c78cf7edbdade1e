"""A linear world with known noise of process and observations, and fits of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, transitions

TASK = PlainTask.of(2, action_dim=1)
#: Covariance of the process's noise, and standard deviations of the observations'.
PROCESS = np.array([[0.0025, 0.0015], [0.0015, 0.0025]])
OBSERVED = np.array([0.08, 0.04])


@dataclass(frozen=True, eq=False)
class LinearWorld:
    """``x' = A x + b u + w`` with an ``A`` of each agent's own; what is seen is ``x + v``."""

    agents: int = 40
    process: Any = None
    observed: Any = None
    tails: int = 0
    growing: bool = False
    by_agent: bool = False

    def play(self, agents: NDArray[np.int64], steps: int, seed: int) -> tuple[Any, Any, Any]:
        """States and observations ``[n, T + 1, 2]``, actions ``[n, T, 1]``."""
        rng = np.random.default_rng(seed)
        turn = 0.3 + 0.3 * np.random.default_rng(0).random(self.agents)[agents]
        a = 0.9 * np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1)
        a = a.reshape(-1, 2, 2)
        scale = np.where(agents % 2, 2.0, 0.5) if self.by_agent else np.ones(len(agents))
        root = np.linalg.cholesky(np.zeros((2, 2)) + np.eye(2) * 1e-12 + self._process)
        actions = rng.uniform(-1, 1, (len(agents), steps, 1))
        x = np.zeros((len(agents), steps + 1, 2))
        x[:, 0] = rng.uniform(-1, 1, (len(agents), 2))
        for t in range(steps):
            w = self._normal(rng, len(agents)) @ root.T * scale[:, None]
            following = np.einsum("nij,nj->ni", a, x[:, t]) + actions[:, t] * [0.3, 0.1]
            if self.growing:
                w *= np.abs(following)
            x[:, t + 1] = following + w
        v = np.zeros(2) if self.observed is None else self.observed
        return x, x + v * rng.standard_normal(x.shape), actions

    @property
    def _process(self) -> Any:
        return np.zeros((2, 2)) if self.process is None else self.process

    def _normal(self, rng: np.random.Generator, n: int) -> Any:
        if self.tails:
            return rng.standard_t(self.tails, (n, 2)) / np.sqrt(self.tails / (self.tails - 2))
        return rng.standard_normal((n, 2))

    def record(self, steps: int = 80, seed: int = 1) -> Transitions:
        """A trajectory of each agent."""
        agents = np.arange(self.agents)
        _, seen, actions = self.play(agents, steps, seed)
        return transitions(
            np.repeat(agents, steps),
            seen[:, :-1].reshape(-1, 2),
            actions.reshape(-1, 1),
            seen[:, 1:].reshape(-1, 2),
        )


WORLDS = {
    "none": LinearWorld(),
    "process": LinearWorld(process=PROCESS),
    "observations": LinearWorld(observed=OBSERVED),
    "both": LinearWorld(process=PROCESS, observed=OBSERVED),
    "heavy tails": LinearWorld(process=PROCESS, tails=3),
    "by agent": LinearWorld(process=PROCESS, by_agent=True),
    "growing": LinearWorld(process=PROCESS, growing=True),
}


@cache
def fitted(name: str) -> PerSim:
    """The simulator of a world's record, of a family that holds the law."""
    data = WORLDS[name].record()
    return PerSim.fit(data, task=TASK, method="hierarchical", degree=1, progress=False)


def inside(sim: PerSim, world: LinearWorld, of: str, level: float, steps: int) -> Any:
    """Share of fresh observations or states in their intervals after some steps."""
    agents = np.repeat(np.arange(world.agents), 20)
    states, seen, actions = world.play(agents, steps + 10, seed=7)
    low, high = sim.rollout_interval(agents, seen[:, 10], actions[:, 10:], level=level, of=of)
    truth = (seen if of == "observation" else states)[:, 10 + steps]
    return ((truth >= low[:, -1]) & (truth <= high[:, -1])).mean()
