"""Transitions checked against their task: what every way of fitting begins with."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.learned.bounds import cutting_bounds
from persim_gym.learned.geometry.geometry import Geometry
from persim_gym.learned.geometry.search import find_geometry
from persim_gym.learned.history import slots, width_of
from persim_gym.learned.moments import measure
from persim_gym.learned.support import Experience, action_ranges
from persim_gym.offline.transitions import Transitions
from persim_gym.threads import few_threads

#: Recorded pasts that are remembered, of beginning episodes and of others.
PASTS = 2048


class Data:
    """Transitions checked against their task: what every way of fitting begins with.

    Raises:
        ValueError: If the data are not of the task.
    """

    def __init__(self, transitions: Transitions, task: Task) -> None:
        check_data(transitions, task)
        self.transitions = transitions
        self.task = task

    @cached_property
    def geometry(self) -> Geometry:
        """Which coordinates are angles: declared, or found."""
        return find_geometry(self.transitions, tuple(getattr(self.task, "angles", ())))

    @cached_property
    def clipped(self) -> NDArray[np.bool_]:
        """Transitions that end on a bound of the observation space ``[T]``."""
        return on_bounds(self.transitions, self.task)

    def change(self, rows: Any) -> NDArray[np.float32]:
        """What is predicted: differences of some transitions ``[k, d]``."""
        return self.transitions.change(rows).astype(np.float32)

    @cached_property
    def change_scale(self) -> NDArray[np.float32]:
        """Deviation of the differences ``[d]``."""
        return self._unit(self.change)

    @cached_property
    def deviation(self) -> NDArray[np.float32]:
        """Deviation of the observations ``[d]``."""
        return self._unit(lambda rows: self.transitions.next_obs[rows])

    def _unit(self, values: Callable[[slice], NDArray[np.float32]]) -> NDArray[np.float32]:
        count = len(self.transitions)
        return measure(count, values, np.ones(count, dtype=np.bool_)).single()[1]

    def states(self, lag: int) -> NDArray[np.float32]:
        """States ``[T, l * w]`` with the actions between their observations."""
        return slots(self.transitions, lag, width_of(lag, self.task.action_space))

    def few_threads(self) -> AbstractContextManager[None]:
        """One thread inside, unless there are so many data that more pay.

        A fit of few data is many small operations: on a busy machine, threads that wait for each
        other after each of them make it a hundred times slower.
        """
        return few_threads(self.transitions.obs.size, (1,), torch.device("cpu"))

    def check_left(self, used: NDArray[np.bool_]) -> None:
        """Check that something is left to learn from.

        Raises:
            ValueError: If nothing is.
        """
        if not used.any():
            raise ValueError("no transition is left to fit: every one ends on a bound of its space")

    def experience(self, lag: int = 1, past: int = 0) -> Experience:
        """What a simulator remembers of the data.

        Args:
            lag: Observations of its states.
            past: Numbers of a past action in them.
        """
        t = self.transitions
        starts, pasts = t.starts, None
        if lag > 1:
            whole = np.flatnonzero(t.step >= lag - 1)
            whole = whole if len(whole) else np.arange(len(t))
            early = whole[t.step[whole] == lag - 1]
            others = np.random.default_rng(0).permutation(whole)
            kept = np.concatenate([early[:PASTS], others[:PASTS]])
            pasts = slots(t, lag, past)[kept]
            starts = early if len(early) else starts
        space = self.task.action_space
        choices = int(space.n) if isinstance(space, Discrete) else 0
        own_low, own_high = action_ranges(t.agent, t.action, t.num_agents, choices)
        return Experience(
            low=np.minimum(t.obs.min(0), t.next_obs.min(0)),
            high=np.maximum(t.obs.max(0), t.next_obs.max(0)),
            change_scale=self.change_scale,
            starts=t.obs[starts],
            disagreement_limit=math.inf,
            seen=np.isin(np.arange(t.num_agents), t.agent),
            pasts=pasts,
            action_low=own_low.min(axis=0),
            action_high=own_high.max(axis=0),
            own_low=own_low,
            own_high=own_high,
        )


def check_data(transitions: Transitions, task: Task) -> None:
    """Check that data are of the task.

    Raises:
        ValueError: If observations or actions do not fit its spaces.
    """
    d = task.observation_space.shape[0]
    if transitions.obs.shape[1] != d:
        raise ValueError(
            f"task {task.name!r} has {d} coordinates, the data have {transitions.obs.shape[1]}: "
            "they are of another task"
        )
    names = getattr(task, "obs_names", None)
    if names and transitions.obs_names and names != transitions.obs_names:
        raise ValueError(
            f"task {task.name!r} observes {', '.join(names)}, the data "
            f"{', '.join(transitions.obs_names)}: they are of another task, or in another order"
        )
    space = task.action_space
    if isinstance(space, Discrete):
        if transitions.action.ndim != 1 or not np.issubdtype(transitions.action.dtype, np.integer):
            raise ValueError(
                f"task {task.name!r} has discrete actions, the data's are "
                f"{transitions.action.dtype} of shape {transitions.action.shape}"
            )
        if transitions.action.min() < 0 or transitions.action.max() >= space.n:
            raise ValueError(
                f"task {task.name!r} has actions 0 to {space.n - 1}, the data "
                f"{transitions.action.min()} to {transitions.action.max()}"
            )
    elif transitions.action.shape[1:] != space.shape:
        raise ValueError(
            f"task {task.name!r} has actions of shape {space.shape}, the data "
            f"{transitions.action.shape[1:]}"
        )


def on_bounds(transitions: Transitions, task: Task) -> NDArray[np.bool_]:
    """Transitions that end on a bound of the observation space that cuts ``[T]``."""
    low, high = cutting_bounds(task)
    at: NDArray[np.bool_] = (transitions.next_obs <= low) | (transitions.next_obs >= high)
    return np.asarray(at.any(axis=1))
