"""Lanes: the batched episode logic that the scalar, vector and parallel shells share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Array, Dynamics, Task, begin_states, next_states
from persim_gym.envs.guard import Reason, reasons


@dataclass(slots=True)
class Advance:
    """What a guarded dynamics gives a shell for one step of ``n`` rows.

    Attributes:
        next_obs: Next observations ``[n, d]``, finite and inside the observation space.
        stop: Rows to truncate ``[n]``: the dynamics is not to be trusted any further; ``None`` for
            none.
        penalty: What to subtract from the reward ``[n]``, or ``None``.
        info: Arrays ``[n]`` for ``info``, by name: those of ``quiet_info``.
        halt: Rows to terminate ``[n]``: nothing comes after a state that the dynamics itself makes
            an end; ``None`` for none.
    """

    next_obs: NDArray[np.float64]
    stop: NDArray[np.bool_] | None
    penalty: NDArray[np.float64] | None = None
    info: dict[str, NDArray[Any]] = field(default_factory=dict)
    halt: NDArray[np.bool_] | None = None


@runtime_checkable
class GuardedDynamics(Dynamics, Protocol):
    """A dynamics that knows when it is not to be trusted, and may be random."""

    @property
    def quiet_info(self) -> Mapping[str, np.generic]:
        """What ``info`` holds at a reset, where nothing was predicted: the keys of every step.

        With a penalty ``reward_raw`` and ``penalty`` are among them.
        """

    def begin(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """What ``n`` beginning episodes keep to their end, such as an ensemble member: ``[n]``."""

    def advance(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Advance:
        """One step of ``n`` rows."""


class RowAdvance(NamedTuple):
    """What a learned dynamics says of one step of one row, in plain numbers.

    Attributes:
        next_obs: Next observation ``[d]``, finite and inside the observation space.
        reason: Why the model is not to be trusted any further; 0 where it is.
        disagreement: Of the members.
        clipped: Coordinates that were put back into the space.
        penalty: What to subtract from the reward.
        outside: Coordinates of the action that are outside of what was recorded of any agent.
        outside_own: Coordinates that are outside of what was recorded of the agent itself.
    """

    next_obs: list[float]
    reason: Reason
    disagreement: float
    clipped: int
    penalty: float
    outside: int = 0
    outside_own: int = 0


@runtime_checkable
class GuardedRows(GuardedDynamics, Protocol):
    """A guarded dynamics that serves single rows without the overhead of arrays."""

    penalty: float

    def advance_row(
        self,
        agent: int,
        state: Sequence[float],
        action: Any,
        kept: int,
        rng: np.random.Generator,
    ) -> RowAdvance:
        """One step of one row: what :meth:`GuardedDynamics.advance` says of it."""


@dataclass(slots=True)
class LaneStep:
    """One step of ``n`` lanes.

    Attributes:
        obs: Observations in full precision ``[n, d]``.
        reward: Rewards ``[n]``.
        terminated: The task has ended ``[n]``.
        truncated: Time is up, or the dynamics is not to be trusted ``[n]``.
        info: Arrays ``[n]`` by name, the same names in every step and at a reset.
    """

    obs: NDArray[np.float64]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    info: dict[str, NDArray[Any]]

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """Lanes ``[n]`` that a guard or broken physics has cut off."""
        reason = self.info.get("guard")
        return np.zeros(len(self.reward), dtype=np.bool_) if reason is None else reason > 0


class Lanes:
    """States of ``n`` concurrent episodes, one agent each, over one task and one dynamics.

    Args:
        task: Reward, termination, spaces.
        dynamics: True or learned.
        agents: Agent of each lane ``[n]``.
        max_episode_steps: Steps after which a lane is truncated; ``None`` for never.

    Raises:
        ValueError: If ``max_episode_steps`` is no positive integer.
    """

    def __init__(
        self,
        task: Task,
        dynamics: Dynamics,
        agents: NDArray[np.int64],
        max_episode_steps: int | None,
    ) -> None:
        if max_episode_steps is not None:
            max_episode_steps = checks.positive_integer("max_episode_steps", max_episode_steps)
        self.task = task
        self.dynamics = dynamics
        self.agents = agents
        self.max_episode_steps = max_episode_steps
        self._guarded = dynamics if isinstance(dynamics, GuardedDynamics) else None
        self._quiet = {} if self._guarded is None else self._guarded.quiet_info
        # A dynamics may need to know what was asked for, before it is cut to the space's bounds.
        self._uncut = bool(getattr(dynamics, "takes_uncut_actions", False))
        # One that is strict refuses actions before anything has moved.
        strict = getattr(dynamics, "strict", False)
        self._strict = dynamics.check_actions if strict else None  # type: ignore[attr-defined]
        space = task.action_space
        self._action_bounds = (0, 0) if isinstance(space, Discrete) else (space.low, space.high)
        n, d = len(agents), task.observation_space.shape[0]
        # The coordinates of a state are contiguous over the lanes: physics works by coordinate.
        self.obs = np.zeros((d, n)).T
        # States of a dynamics with a lag, as large as it makes them.
        self._states: NDArray[np.float64] | None = None
        self.steps = np.zeros(n, dtype=np.int64)
        self._kept = np.zeros(n, dtype=np.int64)

    def check_start(self, agents: NDArray[np.int64], states: NDArray[np.float64]) -> None:
        """Refuse given start states ``[n, d]`` from which the dynamics cannot go on.

        Raises:
            ValueError: If there is one.
        """
        check = getattr(self.dynamics, "check_states", None)
        if check is not None:
            check(agents, states)

    def check_actions(
        self,
        actions: object,
        lanes: NDArray[np.int64] | None = None,
        idle: NDArray[np.bool_] | None = None,
    ) -> NDArray[Any]:
        """Check the actions of all lanes (``lanes=None``) or some of them.

        Args:
            actions: Theirs ``[n(, a)]``.
            lanes: Indices of the lanes that step.
            idle: Lanes whose action has no effect ``[n]``.

        Returns:
            What :meth:`advance` takes: continuous ones cut to their bounds, unless the dynamics
            does that itself.

        Raises:
            TypeError: If discrete actions are no integers.
            ValueError: If an action is invalid, or the dynamics refuses it.
        """
        agents = self.agents if lanes is None else self.agents[lanes]
        found = check_actions(self.task, actions, len(agents), cut=not self._uncut)
        if self._strict is not None:
            kept = slice(None) if idle is None else ~idle
            self._strict(agents[kept], found[kept])
        return found

    def cut(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions ``[..., a]`` within the bounds of their space, of which rewards are."""
        return np.clip(actions, *self._action_bounds) if self._uncut else actions

    def begin(
        self, lanes: NDArray[Any], start: NDArray[np.float64], rng: np.random.Generator
    ) -> None:
        """Begin an episode in each of the given lanes, at start states ``[len(lanes), d]``."""
        self.obs[lanes] = start
        self.steps[lanes] = 0
        if self.dynamics.lag > 1:
            states = begin_states(self.dynamics, start)
            if self._states is None:
                self._states = np.zeros((len(self.obs), *states.shape[1:]))
            self._states[lanes] = states
        if self._guarded is not None:
            self._kept[lanes] = self._guarded.begin(len(start), rng)

    def place(self, lanes: NDArray[Any], start: NDArray[np.float64]) -> None:
        """Put lanes that are over at the states in which they begin after the next step.

        That step says nothing of them. From an episode's end it would often lead out of bounds, and
        make work for nothing.
        """
        if self._states is None:
            self.obs[lanes] = start

    def kept(self, lane: int) -> int:
        """What the episode of a lane keeps to its end."""
        return int(self._kept[lane])

    def quiet_info(self) -> dict[str, NDArray[Any]]:
        """``info`` of beginning episodes: arrays ``[n]`` of all lanes, by name."""
        n = len(self.agents)
        return {
            "agent": self.agents.copy(),
            **{
                key: reasons(n) if isinstance(value, Reason) else np.full(n, value)
                for key, value in self._quiet.items()
            },
        }

    def quieten(self, info: dict[str, NDArray[Any]], lanes: NDArray[np.int64]) -> None:
        """Put what a reset says into a step's ``info``, where a lane has begun anew."""
        for key, value in self._quiet.items():
            info[key][lanes] = value

    def advance(
        self, actions: NDArray[Any], rng: np.random.Generator, lanes: NDArray[np.int64] | None
    ) -> LaneStep:
        """Step all lanes (``lanes=None``) or some of them.

        Args:
            actions: Actions of the lanes that step ``[n(, a)]``, from :meth:`check_actions`.
            rng: Randomness of a dynamics that has some.
            lanes: Indices of the lanes that step.
        """
        every = lanes is None
        agents = self.agents if every else self.agents[lanes]
        following: NDArray[np.float64]
        obs = self.obs if every else self.obs[lanes]
        states = obs
        if self._states is not None:
            states = self._states if every else self._states[lanes]
        advance: Advance | None = None
        if self._guarded is not None:
            kept = self._kept if every else self._kept[lanes]
            advance = self._guarded.advance(agents, states, actions, kept, rng)
            following = advance.next_obs
        else:
            following = self.dynamics.step(agents, states, actions)  # type: ignore[assignment]
        n, actions = len(agents), self.cut(actions)
        reward = _own(self.task.reward(obs, actions, following), n, np.float64)
        terminated = _own(self.task.terminated(following), n, np.bool_)
        info: dict[str, NDArray[Any]] = {"agent": agents.copy() if every else agents}
        if advance is not None:
            info.update(advance.info)
            if advance.penalty is not None:
                info["reward_raw"], info["penalty"] = reward, advance.penalty
                reward = reward - advance.penalty
            if advance.halt is not None:
                terminated = terminated | advance.halt
        # A step that ends the task is no less an end for an untrustworthy model.
        if every:
            self.obs = following
            self.steps += 1
            steps = self.steps
        else:
            self.obs[lanes] = following
            self.steps[lanes] += 1
            steps = self.steps[lanes]
        if self._states is not None:
            moved = next_states(self.dynamics, states, actions, following)
            self._states[slice(None) if every else lanes] = moved
        limit = self.max_episode_steps
        truncated = steps >= limit if limit is not None else np.zeros(n, dtype=np.bool_)
        if advance is not None and advance.stop is not None:
            truncated = truncated | advance.stop
        return LaneStep(following, reward, terminated, truncated, info)


def time_limit(task: Task, max_episode_steps: int | None) -> int | None:
    """The time limit of what keeps its own: the task's by default, none with -1 as in Gymnasium."""
    if max_episode_steps is None:
        return task.max_episode_steps
    unlimited = type(max_episode_steps) is int and max_episode_steps == -1
    return None if unlimited else max_episode_steps


def first(values: Array) -> Any:
    """A task's answer about a batch of one."""
    return values[0] if np.ndim(values) else values


def _own(values: Array, n: int, dtype: type[np.generic]) -> NDArray[Any]:
    """A task's answer as an array ``[n]`` of its own: the shells write into it and hand it out.

    A reward that is a view of the next observation would otherwise change them.
    """
    if type(values) is np.ndarray and values.base is None and values.dtype == dtype:
        return values
    return np.array(np.broadcast_to(values, n), dtype=dtype)


def check_actions(task: Task, actions: object, n: int, cut: bool = True) -> NDArray[Any]:
    """Check the actions of ``n`` lanes; continuous ones are clipped to their bounds.

    Args:
        task: The task.
        actions: Theirs.
        n: Number of lanes.
        cut: Whether to clip.

    Raises:
        TypeError: If discrete actions are no integers.
        ValueError: If the shape is wrong, an action does not exist or is not finite.
    """
    space = task.action_space
    array = np.asarray(actions)
    if isinstance(space, Discrete):
        if array.shape != (n,):
            raise ValueError(f"actions must have shape ({n},), got {array.shape}")
        if array.dtype != np.int64:
            if not np.issubdtype(array.dtype, np.integer):
                raise TypeError(f"discrete actions must be integers, got {array.dtype}")
            array = array.astype(np.int64)
        # Seen as unsigned, a negative action is a very large one: one pass checks both ends.
        if n and int(np.maximum.reduce(array.view(np.uint64))) >= int(space.n):
            raise ValueError(
                f"actions must be 0 to {space.n - 1}, got {array.min()}..{array.max()}"
            )
        return array
    if array.shape != (n, *space.shape):
        raise ValueError(f"actions must have shape {(n, *space.shape)}, got {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"actions must be finite, got {array[row].tolist()} in row {row}")
    return np.clip(array, space.low, space.high) if cut else array
