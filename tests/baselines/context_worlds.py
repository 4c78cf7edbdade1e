"""A linear world whose hidden parameter the past alone tells, and batches of random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.baselines.context.network import Batch, ContextShape
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask

TASK = PlainTask.of(2, action_dim=1)


class HiddenGain:
    """``x' = x + 0.2 y``, ``y' = 0.9 y + 0.3 gain a``: the gain is each agent's own, even in sign.

    Args:
        gains: Of the agents ``[N]``.
    """

    lag = 1

    def __init__(self, gains: NDArray[np.float64]) -> None:
        self.gains, self.num_agents = gains, len(gains)

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        """Next observations ``[n, 2]``."""
        states, actions = np.asarray(states, dtype=np.float64), np.asarray(actions)
        x, y = states.T
        gain = self.gains[np.asarray(agents)]
        return np.stack([x + 0.2 * y, 0.9 * y + 0.3 * gain * actions[:, 0]], axis=1)


def gains(agents: int, seed: int = 0) -> NDArray[np.float64]:
    """Gains from -1.5 to 1.5 ``[N]``."""
    return np.random.default_rng(seed).uniform(-1.5, 1.5, size=agents)


def recorded(world: HiddenGain, steps: int, seed: int = 0) -> Transitions:
    """One trajectory of each agent under random actions."""
    rng = np.random.default_rng(seed)
    n = world.num_agents
    agents = np.arange(n)
    obs = [TASK.sample_start(rng, n)]
    actions = rng.uniform(-1.0, 1.0, size=(steps, n, 1))
    for acted in actions:
        obs.append(world.step(agents, obs[-1], acted))
    path = np.stack(obs, axis=1).astype(np.float32)  # [N, steps + 1, 2]
    return transitions(path, actions.transpose(1, 0, 2), agents)


def transitions(path: NDArray[Any], actions: NDArray[Any], agents: NDArray[Any]) -> Transitions:
    """Trajectories ``[E, steps + 1, d]`` with actions ``[E, steps(, a)]`` as transitions."""
    count, steps = path.shape[0], path.shape[1] - 1
    ends = np.zeros((count, steps), dtype=np.bool_)
    cut = ends.copy()
    cut[:, -1] = True
    obs, after = path[:, :-1].reshape(count * steps, -1), path[:, 1:].reshape(count * steps, -1)
    return Transitions(
        agent=np.repeat(agents, steps),
        obs=obs,
        action=actions.reshape(count * steps, *actions.shape[2:]),
        next_obs=after,
        reward=TASK.reward(obs, None, after).astype(np.float64),
        terminated=ends.ravel(),
        truncated=cut.ravel(),
        episode=np.repeat(np.arange(count), steps),
        num_agents=int(agents.max()) + 1,
        task_name=TASK.name,
    )


#: Small networks of two members that see three numbers of a state.
SHAPE = ContextShape(
    members=2, obs_dim=2, inputs=3, acts=1, history=3, context=4, encoder=(5, 4), hidden=(6, 5),
    probabilistic=True,
)  # fmt: skip


def batch_of(shape: ContextShape, rows: int, seed: int = 0) -> Batch:
    """Random numbers of the right sizes, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    widths = (
        shape.history * (shape.obs_dim + shape.acts), shape.inputs, shape.acts, shape.obs_dim,
        shape.inputs, shape.obs_dim,
    )  # fmt: skip
    sizes = [(shape.members, rows, width) for width in widths]
    return Batch(*(torch.randn(s, generator=generator, dtype=torch.float64) for s in sizes))
