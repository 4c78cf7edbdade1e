"""Linear worlds in which the value of a policy is known."""

from __future__ import annotations

import numpy as np

from persim_gym.offline.transitions import Transitions

#: ``x' = 0.8 x + gain * u + noise``, and the reward is ``next.x - 0.5 * u``.
KEEP, NOISE = 0.8, 0.3
REWARD = "next.x - 0.5 * u"


def linear(
    agents: int = 8,
    steps: int = 200,
    *,
    discrete: bool = False,
    up: float = 0.5,
    reward: bool = True,
    seed: int = 0,
) -> tuple[Transitions, np.ndarray]:
    """Records of agents with gains of their own, and the gains ``[N]``.

    Args:
        agents: How many.
        steps: Of each one's record.
        discrete: Whether to act is yes or no, with probability ``up`` of yes; else uniform.
        up: That probability.
        reward: Whether rewards are recorded.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    gain = np.linspace(0.2, 1.8, agents)
    u = (rng.random((agents, steps)) < up) * 1.0 if discrete else rng.random((agents, steps))
    x = np.zeros((agents, steps + 1))
    x[:, 0] = rng.normal(size=agents)
    for t in range(steps):
        x[:, t + 1] = KEEP * x[:, t] + gain * u[:, t] + NOISE * rng.normal(size=agents)
    agent = np.repeat(np.arange(agents), steps)
    earned = (x[:, 1:] - 0.5 * u).reshape(-1)
    data = Transitions(
        agent=agent, episode=agent, obs=x[:, :-1].reshape(-1, 1), next_obs=x[:, 1:].reshape(-1, 1),
        action=u.reshape(-1).astype(np.int64) if discrete else u.reshape(-1, 1),
        reward=earned if reward else np.zeros(len(agent)), terminated=np.zeros(len(agent)),
        truncated=np.zeros(len(agent)), num_agents=agents, task_name="linear",
        agent_names=tuple(f"a{k}" for k in range(agents)), obs_names=("x",), action_names=("u",),
    )  # fmt: skip
    return data, gain


def true_value(x: np.ndarray, gain: np.ndarray, u: float, steps: int) -> np.ndarray:
    """What is expected of always taking ``u`` from ``x``."""
    total = np.zeros(np.broadcast_shapes(x.shape, gain.shape))
    for _ in range(steps):
        x = KEEP * x + gain * u
        total = total + x - 0.5 * u
    return total
