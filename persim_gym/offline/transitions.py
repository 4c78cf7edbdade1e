"""Recorded transitions as flat arrays with the agent of each: what simulators are fitted on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows that are looked at together.
_BLOCK = 2**14


@dataclass(frozen=True)
class Transitions:
    """``T`` transitions of ``N`` agents, episode after episode in the order of time.

    A transition into a terminal state is data; nothing crosses from one episode to the next.

    Attributes:
        agent: ``[T]``, int64.
        obs: ``[T, d]``, float32.
        action: ``[T]`` int64 or ``[T, a]`` float32.
        next_obs: ``[T, d]``, float32.
        reward: ``[T]``, float64.
        terminated: ``[T]``, bool.
        truncated: ``[T]``, bool.
        episode: ``[T]``, int64, ascending: which episode a transition is of.
        num_agents: ``N``; agents without a transition are possible.
        task_name: The task, such as ``"cartpole"``.
        dataset_id: Where the data came from, such as ``"persim/cartpole/random-v0"``.
        population: How to make the recorded population again (``population=`` of an environment),
            where that is known and not the default one. For evaluations; no fit looks at it.
        agent_names: What the agents are called outside of this package, one an index; ``None``
            where they are plain numbers.
        obs_names: Names of the observation's coordinates ``[d]``, where they have any.
        action_names: Names of the action's coordinates ``[a]``; of a discrete action one name.
        action_labels: What the discrete actions are called, index by index, where they have names;
            there may be some that were never taken.
        angles: Coordinates that are declared as angles, each with a full turn in its units
            (``2 * pi`` for radians).
        circles: Pairs of coordinates that are declared as cosine and sine of an angle.

    Raises:
        TypeError: If names are not strings.
        ValueError: If arrays or names do not fit together, or a value is not finite.
    """

    agent: NDArray[np.int64]
    obs: NDArray[np.float32]
    action: NDArray[Any]
    next_obs: NDArray[np.float32]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode: NDArray[np.int64]
    num_agents: int
    task_name: str
    dataset_id: str = field(default="")
    population: Mapping[str, Any] | None = None
    agent_names: tuple[str, ...] | None = None
    obs_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    action_labels: tuple[str, ...] | None = None
    angles: tuple[tuple[int, float], ...] = ()
    circles: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, or that no model can be fitted on."""
        n = len(self.agent)
        if n == 0:
            raise ValueError("there are no transitions: record at least one episode")
        for name in ("obs", "action", "next_obs", "reward", "terminated", "truncated", "episode"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} rows, agent has {n}: one of each is "
                    "needed for every transition"
                )
        if self.obs.ndim != 2 or self.obs.shape != self.next_obs.shape:
            raise ValueError(
                f"obs and next_obs must both be [T, d], got {self.obs.shape} and "
                f"{self.next_obs.shape}"
            )
        if self.agent.min() < 0 or self.agent.max() >= self.num_agents:
            raise ValueError(
                f"agents must be 0 to {self.num_agents - 1}, got {self.agent.min()} to "
                f"{self.agent.max()}"
            )
        _check_names("agent_names", self.agent_names, self.num_agents, "agents")
        _check_names("obs_names", self.obs_names, self.obs.shape[1], "observation coordinates")
        width = math.prod(self.action.shape[1:])
        _check_names("action_names", self.action_names, width, "action coordinates")
        if self.action_labels is not None:
            if self.action.ndim != 1 or self.action.max() >= len(self.action_labels):
                raise ValueError(
                    "action_labels are one name for each discrete action, got "
                    f"{len(self.action_labels)} for actions of shape {self.action.shape} up to "
                    f"{self.action.max()}"
                )
            count = len(self.action_labels)
            _check_names("action_labels", self.action_labels, count, "actions")
        if (self.episode[1:] < self.episode[:-1]).any():
            raise ValueError(
                "episode must ascend: transitions stand episode after episode, in the order of time"
            )
        for name in ("obs", "next_obs", "action"):
            values = getattr(self, name)
            # In blocks, for the answer would take a fourth of the data's memory.
            for first in range(0, n, _BLOCK):
                block = values[first : first + _BLOCK]
                if np.isfinite(block).all():
                    continue
                finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
                row = first + int(np.argmin(finite))
                raise ValueError(
                    f"{name} of transition {row} (agent {self.agent[row]}, episode "
                    f"{self.episode[row]}) is not finite: {values[row].tolist()}"
                )

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agent)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Index of each episode's first transition ``[E]``."""
        new = np.ones(len(self), dtype=np.bool_)
        new[1:] = self.episode[1:] != self.episode[:-1]
        return np.flatnonzero(new)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Transitions of each episode ``[E]``."""
        return np.diff(np.append(self.starts, len(self)))

    @cached_property
    def step(self) -> NDArray[np.int64]:
        """Time of each transition inside its episode ``[T]``."""
        return np.arange(len(self)) - np.repeat(self.starts, self.lengths)

    def states(self, lag: int) -> NDArray[np.float32]:
        """States of ``lag`` observations, oldest first: ``[T, lag, d]``.

        Before an episode's beginning stands its first observation, as in an environment that has
        just been reset. For a lag of one they are a view of ``obs``.

        Raises:
            ValueError: If ``lag`` is below one.
        """
        if lag < 1:
            raise ValueError(f"a state holds at least one observation, got lag={lag}")
        if lag == 1:  # of the size of the data: not copied
            return self.obs[:, None]
        first = np.repeat(self.starts, self.lengths)
        rows = np.arange(len(self))
        past = [np.maximum(rows - back, first) for back in range(lag - 1, -1, -1)]
        return self.obs[np.stack(past, axis=1)]

    def select(self, rows: NDArray[Any]) -> Transitions:
        """Some of the transitions, by mask or by ascending indices."""
        return Transitions(
            agent=self.agent[rows],
            obs=self.obs[rows],
            action=self.action[rows],
            next_obs=self.next_obs[rows],
            reward=self.reward[rows],
            terminated=self.terminated[rows],
            truncated=self.truncated[rows],
            episode=self.episode[rows],
            num_agents=self.num_agents,
            task_name=self.task_name,
            dataset_id=self.dataset_id,
            population=self.population,
            agent_names=self.agent_names,
            obs_names=self.obs_names,
            action_names=self.action_names,
            action_labels=self.action_labels,
            angles=self.angles,
            circles=self.circles,
        )

    def sha256(self) -> str:
        """Hash of what a fit sees: agents, observations, actions, next observations, episodes."""
        digest = hashlib.sha256()
        for array in (self.agent, self.obs, self.action, self.next_obs, self.episode):
            digest.update(f"{array.dtype} {array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
        if self.angles or self.circles:
            digest.update(f"{self.angles} {self.circles};".encode())
        return digest.hexdigest()


def _check_names(name: str, values: object, count: int, of: str) -> None:
    """Refuse names that are not one string for each of ``count`` things."""
    if values is None:
        return
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} must be a tuple of strings or None, got {values!r}")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} names for {count} {of}: give one of each")
    if len(set(values)) != count:
        twice = sorted({value for value in values if values.count(value) > 1})
        raise ValueError(f"{name} must differ from each other, got {', '.join(twice)} twice")
