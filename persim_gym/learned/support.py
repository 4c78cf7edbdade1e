"""What a simulator remembers of its data, and what is asked for beyond that: nothing is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.core import Task


@dataclass(frozen=True, slots=True)
class Experience:
    """What a simulator remembers of its data, to know where it can be trusted.

    Attributes:
        low: Smallest recorded value of each coordinate ``[d]``.
        high: Largest recorded value ``[d]``.
        change_scale: Deviation of the recorded differences ``[d]``: the unit of disagreement.
        starts: The recorded trajectories' first observations ``[E, d]``.
        disagreement_limit: Disagreement that held-out transitions almost never reach.
        seen: Agents of whom there are transitions ``[N]``; ``None`` for all.
        pasts: Of a model with a lag: recorded states ``[k, l * w]``, those first that begin an
            episode whose past is known.
        action_low: Least actions of the fit ``[w]``: of each coordinate, or a column for each
            discrete action, which is 1 in ``action_high`` where it was taken.
        action_high: Largest actions ``[w]``.
        own_low: Least actions of each agent ``[N, w]``; infinite where there are none.
        own_high: Largest actions of each agent ``[N, w]``.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    change_scale: NDArray[np.float32]
    starts: NDArray[np.float32]
    disagreement_limit: float
    seen: NDArray[np.bool_] | None = None
    pasts: NDArray[np.float32] | None = None
    action_low: NDArray[np.float32] | None = None
    action_high: NDArray[np.float32] | None = None
    own_low: NDArray[np.float32] | None = None
    own_high: NDArray[np.float32] | None = None


Floats = NDArray[np.float64]

#: What a width beyond the record of the agent itself counts, where others went as far: through
#: them something is known. A width beyond all of them counts 1.
OWN = 0.1
#: Widths of the record by which rounding may put an action beyond it.
ROUNDING = 1e-6


class Outside(NamedTuple):
    """What is outside of the record, of actions ``[...]``.

    Attributes:
        outside: Coordinates of the action outside of what was recorded of any agent ``[...]``.
        own: Coordinates outside of what was recorded of the agent itself ``[...]``.
        extra: Uncertainty of extrapolation, in units of disagreement ``[...]``: how many widths of
            the record the action is beyond it, and :data:`OWN` of the distance beyond the agent's
            own.
        beyond: The first of these alone ``[...]``.
    """

    outside: NDArray[np.int64]
    own: NDArray[np.int64]
    extra: Floats
    beyond: Floats


class ActionRecord:
    """The recorded range of actions, of all agents in the fit and of each.

    Of discrete actions each has a column, which is 1 where the action was taken.

    Args:
        low: Least recorded actions in the fit ``[w]``.
        high: Largest ``[w]``.
        own_low: The same of each agent ``[N, w]``; of one without a record above ``own_high``.
        own_high: ``[N, w]``.
        discrete: Whether actions are discrete.
        names: Of the actions' coordinates ``[w]``, or of the discrete actions.
    """

    def __init__(
        self,
        low: Floats,
        high: Floats,
        own_low: Floats,
        own_high: Floats,
        discrete: bool,
        names: Sequence[str],
    ) -> None:
        self.low, self.high, self.discrete, self.names = low, high, discrete, tuple(names)
        nothing = own_low > own_high
        self.own_low = np.where(nothing, low, own_low)
        self.own_high = np.where(nothing, high, own_high)
        self.width = np.where(high > low, high - low, 1.0)
        #: Whether there is no action that anybody has not taken.
        self.everything = discrete and bool((self.own_high > 0).all() and (high > 0).all())
        #: What every agent's record holds: most actions are there, and that is quick to see.
        self._middle = (
            np.maximum(low, self.own_low.max(axis=0, initial=-np.inf)),
            np.minimum(high, self.own_high.min(axis=0, initial=np.inf)),
        )
        slack = ROUNDING * self.width
        inside = np.maximum(low, self.own_low) - slack, np.minimum(high, self.own_high) + slack
        self._inside = [tuple(zip(*ends, strict=True)) for ends in np.stack(inside, 1).tolist()]

    @classmethod
    def of(cls, experience: Experience, task: Task, num_agents: int) -> ActionRecord | None:
        """What a simulator remembers, or ``None``: it was made by hand or by an older version."""
        space = task.action_space
        discrete = isinstance(space, Discrete)
        width = int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape or ()))
        low: NDArray[Any] | None = experience.action_low
        high: NDArray[Any] | None = experience.action_high
        own_low: NDArray[Any] | None = experience.own_low
        own_high: NDArray[Any] | None = experience.own_high
        if not isinstance(space, Discrete) and getattr(task, "recorded_actions", False):
            low, high = (space.low, space.high) if low is None else (low, high)
        if low is None or high is None:
            return None
        if own_low is None or own_high is None or len(own_low) != num_agents:
            own_low, own_high = np.tile(low, (num_agents, 1)), np.tile(high, (num_agents, 1))
        if low.shape != (width,) or own_low.shape[1:] != (width,):
            return None
        names = getattr(task, "action_labels" if discrete else "action_names", None)
        names = names or [str(k) for k in range(width)]
        ends = [np.asarray(end, dtype=np.float64) for end in (low, high, own_low, own_high)]
        return cls(ends[0], ends[1], ends[2], ends[3], discrete, names)

    def measure(self, agents: NDArray[np.int64], actions: NDArray[Any]) -> Outside | None:
        """What is outside; ``None`` where nothing is.

        Args:
            agents: ``[n]``.
            actions: ``[n, ...]`` integers or ``[n, ..., a]``, not cut to any bounds.
        """
        if self.everything:
            return None
        if self.discrete:
            shape = (len(agents),) + (1,) * (actions.ndim - 1)
            count = (self.high[actions] <= 0).astype(np.int64)
            own = (self.own_high[agents.reshape(shape), actions] <= 0).astype(np.int64)
            far, extra = count.astype(np.float64), count + OWN * own
        else:
            if (actions >= self._middle[0]).all() and (actions <= self._middle[1]).all():
                return None
            asked = actions.astype(np.float64, copy=False)
            shape = (len(agents), *(1,) * (asked.ndim - 2), asked.shape[-1])
            beyond = self._beyond(asked, self.low, self.high)
            lows, highs = (end[agents].reshape(shape) for end in (self.own_low, self.own_high))
            apart = self._beyond(asked, lows, highs)
            count, own = ((part > 0).sum(axis=-1) for part in (beyond, apart))
            far = beyond.max(axis=-1)
            extra = far + OWN * apart.max(axis=-1)
        if not (count.any() or own.any()):
            return None
        return Outside(count, own, extra, far)

    def _beyond(self, asked: Floats, low: Floats, high: Floats) -> Floats:
        """Widths of the record by which actions are beyond a range; 0 of what rounding does."""
        far = np.maximum(low - asked, asked - high) / self.width
        return np.where(far > ROUNDING, far, 0.0)

    def covers(self, agent: int, action: Any) -> bool:
        """Whether one action is within the record of all and of the agent, in plain numbers.

        Args:
            agent: The agent.
            action: An integer, or plain numbers ``[a]``.
        """
        if self.discrete:
            return self.everything or bool(self.own_high[agent, action] > 0 < self.high[action])
        for x, (low, high) in zip(action, self._inside[agent], strict=True):
            if not low <= x <= high:
                return False
        return True

    def check(
        self, agents: NDArray[np.int64], actions: NDArray[Any], labels: Sequence[str] | None
    ) -> None:
        """Refuse actions outside of what was recorded of any agent.

        Args:
            agents: ``[n]``.
            actions: ``[n, ...]`` integers or ``[n, ..., a]``.
            labels: What the agents are called ``[N]``.

        Raises:
            ValueError: If there is one; the message says which, the range and the remedy.
        """
        found = self.measure(agents, actions)
        if found is None or not found.outside.any():
            return
        place = tuple(int(k) for k in np.argwhere(found.outside)[0])
        agent, action = int(agents[place[0]]), np.asarray(actions[place])
        where = f"row {place[0]}" + (f", step {place[1]}" if len(place) > 1 else "")
        whom = repr(labels[agent]) if labels else str(agent)
        if self.discrete:
            taken = [name for name, one in zip(self.names, self.high, strict=True) if one > 0]
            what = f"action {self.names[int(action)]!r}"
            range_ = f"only {', '.join(map(repr, taken))} were taken in the data"
        else:
            k = int(self._beyond(action.astype(np.float64), self.low, self.high).argmax())
            what = f"action {self.names[k]!r} = {float(action[k]):g}"
            range_ = (
                f"{self.low[k]:g} to {self.high[k]:g} was recorded, of this agent "
                f"{self.own_low[agent, k]:g} to {self.own_high[agent, k]:g}"
            )
        raise ValueError(
            f"{what} of {where} (agent {whom}) is outside the record: {range_}. Stay inside, or "
            "record such actions and fit again, or leave strict=True out"
        )


def action_range(actions: NDArray[Any], choices: int) -> tuple[Floats, Floats]:
    """Least and largest actions ``[w]`` of some ``[n(, a)]``; of none infinite, in wrong order.

    Args:
        actions: The actions.
        choices: Number of discrete actions; 0 where they are continuous.
    """
    if choices:
        taken = np.bincount(actions.reshape(-1).astype(np.int64), minlength=choices) > 0
        return np.zeros(choices), taken.astype(np.float64)
    rows = actions.reshape(len(actions), int(np.prod(actions.shape[1:]))).astype(np.float64)
    return rows.min(axis=0, initial=np.inf), rows.max(axis=0, initial=-np.inf)


def action_ranges(
    agents: NDArray[np.int64], actions: NDArray[Any], num_agents: int, choices: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """:func:`action_range` of each agent ``[N, w]``."""
    if choices:
        places = agents * choices + actions
        counts = np.bincount(places, minlength=num_agents * choices)
        high = (counts > 0).reshape(num_agents, choices).astype(np.float32)
        return np.zeros_like(high), high
    low = np.full((num_agents, actions.shape[1]), np.inf, dtype=np.float32)
    high = -low
    np.minimum.at(low, agents, actions)
    np.maximum.at(high, agents, actions)
    return low, high


def with_new_agents(experience: Experience, ranges: Sequence[tuple[Any, Any]]) -> Experience:
    """Remember the actions of further agents: their :func:`action_range` each."""
    if experience.own_low is None or experience.own_high is None or not ranges:
        return experience
    low, high = (np.stack(ends).astype(np.float32) for ends in zip(*ranges, strict=True))
    return replace(
        experience,
        own_low=np.concatenate([experience.own_low, low]),
        own_high=np.concatenate([experience.own_high, high]),
    )


def with_more_actions(experience: Experience, agent: int, range_: tuple[Any, Any]) -> Experience:
    """Remember further actions of an agent."""
    if experience.own_low is None or experience.own_high is None:
        return experience
    low, high = experience.own_low.copy(), experience.own_high.copy()
    low[agent], high[agent] = np.minimum(low[agent], range_[0]), np.maximum(high[agent], range_[1])
    return replace(experience, own_low=low, own_high=high)


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """What of a rollout goes beyond the record; see :meth:`PerSim.rollout_report`.

    Attributes:
        actions: Steps of each row whose action is outside of what was recorded of any agent
            ``[n]``.
        own_actions: Steps whose action is outside of what was recorded of the agent itself
            ``[n]``.
        beyond: Widths of the record by which the furthest action of a row is beyond it ``[n]``.
        states: Steps of each row after which the members' mean is outside of the recorded range,
            or is not finite ``[n]``.
        clipped: Predicted coordinates of each row that stand on a bound of their space, where a
            member's prediction is put back ``[n]``.
        horizon: Steps of each row.
    """

    actions: NDArray[np.int64]
    own_actions: NDArray[np.int64]
    beyond: Floats
    states: NDArray[np.int64]
    clipped: NDArray[np.int64]
    horizon: int

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Rows that stay within the record of all agents ``[n]``."""
        return np.asarray((self.actions == 0) & (self.states == 0))

    def __str__(self) -> str:
        """One line."""
        n, total = len(self.actions), len(self.actions) * self.horizon
        parts = [f"{int(self.trusted.sum())} of {n} rows stay within the record"]
        if self.actions.any():
            parts.append(
                f"{self.actions.sum()} of {total} actions are outside it, by up to "
                f"{self.beyond.max():.3g} of its width"
            )
        if (own := int(self.own_actions.sum())) and own != int(self.actions.sum()):
            parts.append(f"{own} are outside their own agent's")
        if self.states.any():
            parts.append(f"{self.states.sum()} of {total} predicted states are outside it")
        if self.clipped.any():
            parts.append(f"{self.clipped.sum()} predicted coordinates stand on a bound")
        return "; ".join(parts)
