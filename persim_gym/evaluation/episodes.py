"""Episodes in a true environment that simulators are asked to predict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Array, Dynamics, Task
from persim_gym.evaluation.references import Predictor, Remembering
from persim_gym.evaluation.returns import episode_batch, follow_policy, start_states
from persim_gym.progress import OnProgress
from persim_gym.rollout import EpisodeBatch, Moved
from persim_gym.threads import few_threads

WARMUP = 10  # real steps before a simulator is left to itself
HORIZON = 50  # steps that it is left to itself


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes in a true environment, padded to one length.

    Attributes:
        task_name: The task.
        agents: Agent of each episode ``[n]``, in blocks of equal agents.
        obs: Observations ``[n, warmup + horizon + 1, d]``; after an episode's end its last one.
        actions: ``[n, warmup + horizon(, a)]``; after the end of no meaning, but valid.
        lengths: Steps of each episode ``[n]``.
        warmup: Real steps before the prediction.
        horizon: Predicted steps ``h``.
    """

    task_name: str
    agents: NDArray[np.int64]
    obs: NDArray[np.float64]
    actions: NDArray[Any]
    lengths: NDArray[np.int64]
    warmup: int
    horizon: int

    @property
    def true(self) -> NDArray[np.float64]:
        """What is to be predicted ``[n, h, d]``."""
        return self.obs[:, self.warmup + 1 :]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Steps that the episode lasts ``[n, h]``; the one into its end is among them."""
        steps = np.arange(self.warmup + 1, self.warmup + self.horizon + 1)
        return steps <= self.lengths[:, None]

    def states(self, lag: int) -> NDArray[np.float64]:
        """True states after the real steps, ``[n, d]`` or ``[n, lag, d]``, oldest first."""
        if lag == 1:
            return self.obs[:, self.warmup]
        past = np.maximum(np.arange(self.warmup - lag + 1, self.warmup + 1), 0)
        return self.obs[:, past]

    def predicted_by(self, model: Predictor) -> NDArray[np.float64]:
        """A model's open-loop predictions ``[m, n, h, d]``, all episodes in one call."""
        states: Array = self.states(model.lag).astype(np.float32)
        if model.lag > 1 and isinstance(model, Remembering):
            past = np.maximum(np.arange(self.warmup - model.lag + 1, self.warmup), 0)
            states = model.states(states, self.actions[:, past])
        # A few hundred rows are small work at each step, whatever the network's width.
        with few_threads(0, (), torch.device("cpu")):
            rollout = model.rollout(self.agents, states, self.actions[:, self.warmup :])
        return np.asarray(rollout, dtype=np.float64)


def follow(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    policy: Any,
    *,
    episodes: int = 50,
    seed: int = 0,
    warmup: int = WARMUP,
    horizon: int = HORIZON,
    on_progress: OnProgress | None = None,
) -> Episodes:
    """Follow episodes of all agents under a policy, all in one batch.

    Episode ``e`` of every agent starts in the same state.

    Args:
        task: The task.
        dynamics: The true dynamics.
        agents: ``[A]``.
        policy: Anything with ``predict``.
        episodes: Episodes of each agent.
        seed: Seed of start states and policy.
        warmup: Real steps before a prediction.
        horizon: Steps to predict.
        on_progress: Called with the steps that are done, and their number.

    Returns:
        ``A * episodes`` episodes, an agent's one after the other.

    Raises:
        TypeError: If an agent is no integer, or the policy is none.
        ValueError: If an argument is invalid.
    """
    warmup, horizon = checks.integer("warmup", warmup), checks.integer("horizon", horizon, 1)
    steps = warmup + horizon
    batch = episode_batch(task, dynamics, agents, episodes, seed, steps)
    n, d = len(batch), task.observation_space.shape[0]
    what = f"{n} episodes of warmup={warmup} and horizon={horizon} steps"
    checks.enough_memory(what, 16 * n * (steps + 1) * d, "give fewer episodes or steps")
    start = start_states(batch, seed)
    moves = follow_policy(dynamics, batch, policy, seed)
    if on_progress is not None:
        moves = _reported(moves, steps, on_progress)
    return collect(batch, start, moves, warmup)


def _reported(moves: Iterable[Moved], steps: int, on_progress: OnProgress) -> Iterator[Moved]:
    for moved in moves:
        yield moved
        on_progress(moved.step + 1, steps)


def collect(
    batch: EpisodeBatch, start: NDArray[np.float64], moves: Iterable[Moved], warmup: int = 0
) -> Episodes:
    """Keep what a batch of episodes goes through.

    Args:
        batch: The episodes.
        start: Their start states ``[n, d]``.
        moves: Their steps.
        warmup: Real steps before a prediction.
    """
    n, steps, space = len(batch), batch.horizon, batch.task.action_space
    obs = np.repeat(start[:, None], steps + 1, axis=1)
    # An action that is never taken must still be one.
    kind = np.int64 if isinstance(space, Discrete) else np.float64
    actions = np.zeros((n, steps, *(space.shape or ())), dtype=kind)
    lengths = np.full(n, steps)
    for moved in moves:
        obs[moved.rows, moved.step + 1 :] = moved.result.obs[:, None]
        actions[moved.rows, moved.step] = moved.actions
        # The step in which physics broke has no next observation to be predicted.
        lengths[moved.rows[moved.over]] = moved.step + 1 - moved.result.stopped[moved.over]
    return Episodes(batch.task.name, batch.agents, obs, actions, lengths, warmup, steps - warmup)
