"""Recorded transitions as flat arrays with the agent of each: what simulators are fitted on."""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.arrays import as_array, as_flags, check_names

#: Rows that are checked together.
_BLOCK = 2**14

#: What the action is called of agents to which nothing is done.
NO_ACTION = "no action"

#: Largest size of an observation: the difference of two must not overflow single precision.
LARGEST = float(np.finfo(np.float32).max) / 2

#: Changes are kept beside observations where rounding these spoils more than one in a hundred of a
#: coordinate's by this part of themselves.
_SPOILT, _MOST_SPOILT = 1e-3, 0.01

#: Changes below so many roundings are lost wherever observations are in single precision.
_LOST = 16


@dataclass(frozen=True)
class Transitions:
    """``T`` transitions of ``N`` agents, episode after episode in the order of time.

    A transition into a terminal state is data; nothing crosses from one episode to the next.

    Arrays of other types, and lists, are converted where nothing of them is lost but precision.
    Of observations in double precision the changes are taken before they are rounded, so that a
    coordinate may settle far from zero; it is a warning if single precision can not tell its
    changes from rounding at all.

    Attributes:
        agent: ``[T]``, int64.
        obs: ``[T, d]``, float32.
        action: ``[T]`` int64 or ``[T, a]`` float32.
        next_obs: ``[T, d]``, float32.
        reward: ``[T]``, float64.
        terminated: ``[T]``, bool.
        truncated: ``[T]``, bool.
        episode: ``[T]``, int64, ascending: which episode a transition is of. Where another agent
            begins within a number, episodes are numbered anew.
        num_agents: ``N``; agents without a transition are possible.
        task_name: The task, such as ``"cartpole"``.
        dataset_id: Where the data came from, such as ``"persim/cartpole/random-v0"``.
        population: How to make the recorded population again (``population=`` of an environment),
            where that is known and not the default one. For evaluations; no fit reads it.
        agent_names: What the agents are called outside of this package, one an index; ``None``
            where they are plain numbers.
        obs_names: Names of the observation's coordinates ``[d]``, where they have any.
        action_names: Names of the action's coordinates ``[a]``; of a discrete action one name.
        action_labels: What the discrete actions are called, index by index, where they have names;
            there may be some that were never taken.
        changes: ``next_obs - obs`` ``[T, d]``, float32, as they were before observations were
            rounded; ``None`` where rounding does not matter. Made here; see :meth:`change`.
        angles: Coordinates that are declared as angles, each with a full turn in its units
            (``2 * pi`` for radians).
        circles: Pairs of coordinates that are declared as cosine and sine of an angle.
        bounds: Coordinates with declared bounds, each with the least and largest possible value,
            which may be infinite; see :func:`~persim_gym.offline.declare`.
        obs_units: Units of the observation's coordinates ``[d]``, empty where there is none;
            ``None`` where none are known.
        action_units: Units of the action's coordinates ``[a]``; of a discrete action one.
        source: Of a table: where it was read from (``"path"``, if it was a file), ``"columns"``,
            the arguments of :func:`~persim_gym.offline.read_table`, and its median ``"step"``, in
            seconds if ``"dates"`` is true. By these another table is read in the same way. No fit
            reads it, but for ``"notes"``, which go into the card.

    Raises:
        TypeError: If an array or a name is of the wrong type.
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
    changes: NDArray[np.float32] | None = None
    angles: tuple[tuple[int, float], ...] = ()
    circles: tuple[tuple[int, int], ...] = ()
    bounds: tuple[tuple[int, float, float], ...] = ()
    obs_units: tuple[str, ...] | None = None
    action_units: tuple[str, ...] | None = None
    source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Convert or refuse arrays that do not fit together, or that no model can be fitted on."""
        self._convert()
        n = len(self.agent)
        if n == 0:
            raise ValueError("there are no transitions: record at least one episode")
        for name in ("obs", "action", "next_obs", "reward", "terminated", "truncated", "episode"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} rows, agent has {n}: one of each is "
                    "needed for every transition"
                )
        if self.obs.ndim != 2 or self.obs.shape != self.next_obs.shape or not self.obs.shape[1]:
            raise ValueError(
                f"obs and next_obs must both be [T, d], got {self.obs.shape} and "
                f"{self.next_obs.shape}"
            )
        self._check_numbers()
        self._check_order()
        check_names("agent_names", self.agent_names, self.num_agents, "agents")
        check_names("obs_names", self.obs_names, self.obs.shape[1], "observation coordinates")
        width = math.prod(self.action.shape[1:])
        check_names("action_names", self.action_names, width, "action coordinates")
        d = self.obs.shape[1]
        check_names("obs_units", self.obs_units, d, "observation coordinates", alike=True)
        check_names("action_units", self.action_units, width, "action coordinates", alike=True)
        if not all(0 <= column < d and low < high for column, low, high in self.bounds):
            raise ValueError(f"bounds must be of coordinates 0 to {d - 1}, got {self.bounds}")
        if self.action_labels is not None:
            if self.action.ndim != 1 or self.action.max() >= len(self.action_labels):
                raise ValueError(
                    "action_labels are one name for each discrete action, got "
                    f"{len(self.action_labels)} for actions of shape {self.action.shape} up to "
                    f"{self.action.max()}"
                )
            count = len(self.action_labels)
            check_names("action_labels", self.action_labels, count, "actions")
        self._keep_changes()

    def _convert(self) -> None:
        """Arrays of this class's types; observations stay in double precision for the moment."""
        set_ = functools.partial(object.__setattr__, self)
        for name in ("agent", "episode"):
            set_(name, as_array(name, getattr(self, name), "iu", np.int64))
        for name in ("terminated", "truncated"):
            set_(name, as_flags(name, getattr(self, name)))
        for name in ("obs", "next_obs", "reward"):
            values = as_array(name, getattr(self, name), "fiub", None)
            kind = np.float64 if name == "reward" or values.dtype != np.float32 else np.float32
            set_(name, values.astype(kind, copy=False))
        acted = np.asarray(self.action)
        # Numbers in one dimension are seen to below: what is not finite has its own message.
        kept: Any = np.int64 if acted.ndim == 1 and acted.dtype.kind in "iub" else np.float32
        with np.errstate(over="ignore"):
            set_("action", as_array("action", acted, "fiub", kept, dimensions=(1, 2)))
        for name in ("agent_names", "obs_names", "action_names", "action_labels"):
            if isinstance(getattr(self, name), list):
                set_(name, tuple(getattr(self, name)))
        count = self.num_agents
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"num_agents must be an integer, got {count!r}")
        set_("num_agents", int(count))
        for name in ("task_name", "dataset_id"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a string, got {getattr(self, name)!r}")

    def _check_numbers(self) -> None:
        """Refuse what is not finite, or too large, with its place."""
        for name in ("obs", "next_obs", "action", "reward"):
            values = getattr(self, name)
            limit = LARGEST if name in ("obs", "next_obs") else np.inf
            # In blocks, for the answer would take a fourth of the data's memory.
            for first in range(0, len(values), _BLOCK):
                block = values[first : first + _BLOCK].reshape(
                    len(values[first : first + _BLOCK]), -1
                )
                fine = (np.isfinite(block) & (np.abs(block) <= limit)).all(axis=1)
                if fine.all():
                    continue
                row = first + int(np.argmin(fine))
                with np.errstate(over="ignore"):
                    found = np.asarray(values[row]).astype(np.float32)
                what = "too large for float32" if np.isfinite(found).all() else "not finite"
                raise ValueError(
                    f"{name} of transition {row} (agent {self.agent[row]}, episode "
                    f"{self.episode[row]}) is {what}: {found.tolist()}"
                )

    def _check_order(self) -> None:
        """Refuse agents, episodes and actions that do not exist or stand in no order."""
        if self.agent.min() < 0 or self.agent.max() >= self.num_agents:
            raise ValueError(
                f"agents must be 0 to {self.num_agents - 1}, got {self.agent.min()} to "
                f"{self.agent.max()}"
            )
        if (self.episode[1:] < self.episode[:-1]).any():
            raise ValueError(
                "episode must ascend: transitions stand episode after episode, in the order of time"
            )
        crossed = (self.episode[1:] == self.episode[:-1]) & (self.agent[1:] != self.agent[:-1])
        if crossed.any():  # episodes that each agent counts for itself
            new = crossed | (self.episode[1:] != self.episode[:-1])
            object.__setattr__(self, "episode", np.append(0, np.cumsum(new)))
        if self.action.ndim == 1:
            if self.action.dtype != np.int64:
                raise ValueError(
                    "discrete actions must be integers from 0 on, got floating-point numbers: give "
                    "continuous ones the shape [T, 1]"
                )
            if self.action.min() < 0:
                raise ValueError(
                    f"discrete actions must be integers from 0 on, got {self.action.min()}: "
                    "subtract it, and name them by action_labels"
                )
        elif not self.action.shape[1]:
            raise ValueError("action has the shape [T, 0]: an action has at least one coordinate")

    def _keep_changes(self) -> None:
        """Round observations, and keep their changes where rounding would spoil them."""
        set_ = functools.partial(object.__setattr__, self)
        if self.changes is not None:
            set_("changes", as_array("changes", self.changes, "f", np.float32, dimensions=(2,)))
            if self.changes.shape != self.obs.shape:
                raise ValueError(
                    f"changes must be [T, d] as obs, {self.obs.shape}, got {self.changes.shape}"
                )
            least = np.maximum(np.abs(self.obs), np.abs(self.next_obs))
            beside = np.abs(self.next_obs - self.obs - self.changes)
            if not (beside <= 4 * np.finfo(np.float32).eps * least).all():
                raise ValueError(
                    "changes are not next_obs - obs: leave them out where observations are replaced"
                )
        elif self.obs.dtype == np.float64 or self.next_obs.dtype == np.float64:
            changes = (self.next_obs - self.obs).astype(np.float32)
            usual = np.sqrt(np.mean(np.square(changes, dtype=np.float64), axis=0))
            size = np.maximum(np.abs(self.obs).max(axis=0), np.abs(self.next_obs).max(axis=0))
            rounding = float(np.finfo(np.float32).eps) * size
            rounded = self.next_obs.astype(np.float32) - self.obs.astype(np.float32)
            spoilt = np.abs(rounded - changes) > _SPOILT * np.abs(changes)
            if (spoilt.mean(axis=0) > _MOST_SPOILT).any():
                set_("changes", changes)
            for place in np.flatnonzero((usual > 0) & (_LOST * rounding > usual)).tolist():
                name = repr(self.obs_names[place]) if self.obs_names else str(place)
                warnings.warn(
                    f"coordinate {name}: values of about {size[place]:g} that change by "
                    f"{usual[place]:.3g} are lost in float32, in which simulators predict: "
                    "subtract a constant from them",
                    UserWarning,
                    stacklevel=4,
                )
        set_("obs", self.obs.astype(np.float32, copy=False))
        set_("next_obs", self.next_obs.astype(np.float32, copy=False))

    def change(self, rows: Any) -> NDArray[np.float64]:
        """Differences ``next_obs - obs`` of some transitions ``[k, d]``, in double precision."""
        if self.changes is not None:
            return self.changes[rows].astype(np.float64)
        return np.asarray(self.next_obs[rows].astype(np.float64) - self.obs[rows])

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agent)

    @property
    def acts(self) -> bool:
        """Whether anything is done to the agents: a table may have no action."""
        return self.action_names != (NO_ACTION,)

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
            changes=None if self.changes is None else self.changes[rows],
            angles=self.angles,
            circles=self.circles,
            bounds=self.bounds,
            obs_units=self.obs_units,
            action_units=self.action_units,
            source=self.source,
        )

    @property
    def obs_labels(self) -> tuple[str, ...] | None:
        """Names of the observation's coordinates with their units ``[d]``, for axes and tables."""
        return with_units(self.obs_names, self.obs_units)

    def sha256(self) -> str:
        """Hash of what a fit sees: agents, observations, actions, next observations, episodes."""
        digest = hashlib.sha256()
        arrays: list[NDArray[Any]] = [self.agent, self.obs, self.action, self.next_obs]
        arrays.append(self.episode)
        for array in arrays if self.changes is None else [*arrays, self.changes]:
            digest.update(f"{array.dtype} {array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
        if self.angles or self.circles:
            digest.update(f"{self.angles} {self.circles};".encode())
        if self.bounds or self.obs_units or self.action_units:
            declared = self.bounds, self.obs_units, self.action_units
            digest.update(f"{declared};".encode())
        return digest.hexdigest()


def with_units(names: Sequence[str] | None, units: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names with their units, such as ``"ferritin (ug/L)"``; ``None`` where there are no names."""
    if names is None or not units:
        return None if names is None else tuple(names)
    return tuple(f"{n} ({unit})" if unit else n for n, unit in zip(names, units, strict=True))
