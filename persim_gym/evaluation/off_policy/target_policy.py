"""How a policy acts on rows of recorded data, and with which probabilities."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.envs.suites import SUITES
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import (
    EpsilonMixture,
    RandomPolicy,
    as_policy,
    behaviour_name,
    draw_actions,
)
from persim_gym.rollout import EpisodeBatch, start_episodes

Floats = NDArray[np.float64]

#: Probability, or density, of actions ``[n(, a)]`` in observations ``[n, d]``: ``[n]``.
Probability = Callable[[Any, Any], Any]

HOLD = "hold"


class Decider:
    """A policy that is asked for single decisions, without memory of earlier ones.

    Args:
        policy: ``"hold"``: every agent keeps to its usual action, its mean one or of discrete ones
            the one that it took most; or whatever ``as_policy`` takes. If it has
            ``probability(obs, actions)``, that says how likely it takes actions.
        task: Whose actions.
        data: Of the agents.

    Raises:
        TypeError: If it is no policy.
        ValueError: If it is one of another task.
    """

    def __init__(self, policy: Any, task: Task, data: Transitions) -> None:
        self._task, self._data = task, data
        self._usual = usual_actions(data, task) if policy == HOLD else None
        self.policy = None if policy == HOLD else as_policy(policy, task)
        self.name = HOLD if policy == HOLD else behaviour_name(self.policy)
        self._inner: Decider | None = None
        if isinstance(self.policy, EpsilonMixture):
            self._inner = Decider(self.policy.policy, task, data)

    @property
    def random(self) -> bool:
        """Whether it is known to draw its actions."""
        return isinstance(self.policy, (RandomPolicy, EpsilonMixture))

    def actions(
        self, agents: NDArray[np.int64], obs: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[Any]:
        """Actions ``[n(, a)]`` of agents ``[n]`` in observations ``[n, d]``."""
        space, n = self._task.action_space, len(obs)
        if self._usual is not None:
            return self._usual[agents]
        if isinstance(self.policy, RandomPolicy):
            return draw_actions(space, rng, n)
        if self._inner is not None:
            assert isinstance(self.policy, EpsilonMixture)
            strays = rng.random(n) < self.policy.epsilon
            drawn, own = draw_actions(space, rng, n), self._inner.actions(agents, obs, rng)
            return np.where(strays.reshape(-1, *[1] * (drawn.ndim - 1)), drawn, own)
        suite = SUITES.get(self._task.name)
        batch = EpisodeBatch(
            self._task, agents, np.arange(n), 1, int(rng.integers(2**31)),
            population=None if suite is None else suite.population(self._data.population),
        )  # fmt: skip
        found = np.asarray(start_episodes(self.policy, batch)(0, np.arange(n), obs))  # type: ignore[arg-type]
        return found if found.dtype.kind in "iu" else found.astype(np.float32)

    def probability(
        self, agents: NDArray[np.int64], obs: NDArray[np.float32], actions: NDArray[Any]
    ) -> Floats | None:
        """Probability, or density, of taking actions ``[n]``; ``None`` where it is not known.

        A policy that gives the same discrete actions twice counts as one that does not draw them.
        """
        space, n = self._task.action_space, len(obs)
        given = getattr(self.policy, "probability", None)
        if callable(given):
            return checked_probability(given, obs, actions)
        if isinstance(self.policy, RandomPolicy):
            return np.full(n, uniform(space))
        if self._inner is not None:
            assert isinstance(self.policy, EpsilonMixture)
            own = self._inner.probability(agents, obs, actions)
            share = self.policy.epsilon
            return None if own is None else share * uniform(space) + (1 - share) * own
        if not isinstance(space, Discrete):
            return None
        first, second = (self.actions(agents, obs, np.random.default_rng(k)) for k in (0, 1))
        same = bool((first == second).all())
        return (first == actions).astype(np.float64) if same else None


def behaviour_probability(behaviour: Any, task: Task, data: Transitions) -> Floats | None:
    """Probability, or density, of every recorded action ``[T]``; ``None`` where it is not known.

    Args:
        behaviour: A function of observations and actions, a behaviour's name or policy, or
            ``None``: what the name of the data set says, if it is one of this package's.
        task: Whose actions.
        data: What was recorded.

    Raises:
        TypeError: If the function returns no numbers.
        ValueError: If an action that was taken has no probability.
    """
    if behaviour is None:
        named = re.fullmatch(r"persim/[^/]+/(.+)-v\d+", data.dataset_id)
        if named is None or not re.fullmatch(r"random|pure-eps-\d+(\.\d+)?", named[1]):
            return None
        behaviour = named[1]
    if callable(behaviour) and not hasattr(behaviour, "predict"):
        found: Floats | None = checked_probability(behaviour, data.obs, data.action)
    else:
        decider = Decider(behaviour, task, data)
        found = decider.probability(data.agent, data.obs, data.action)
    if found is not None and not (found > 0).all():
        row = int(np.argmin(found))
        raise ValueError(
            f"behaviour gives the action of transition {row} the probability {found[row]:g}, and "
            "it was taken: importance sampling needs the behaviour that made the data"
        )
    return found


def checked_probability(function: Probability, obs: Any, actions: Any) -> Floats:
    """What a function of probabilities returns, checked.

    Raises:
        ValueError: If it is no finite number, from 0 on, for each row.
    """
    found = np.asarray(function(obs, actions), dtype=np.float64)
    if found.shape != (len(obs),) or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(
            "a probability must be a finite number of 0 or more for each row, expected the shape "
            f"({len(obs)},), got {found.shape}{'' if found.size > 3 else f': {found.tolist()}'}"
        )
    return found


def uniform(space: Any) -> float:
    """Probability, or density, of any action under a uniform draw."""
    if isinstance(space, Discrete):
        return 1.0 / int(space.n)
    assert isinstance(space, Box)
    width = (space.high - space.low).astype(np.float64)
    return float(1.0 / np.prod(np.where(width > 0, width, 1.0)))


def usual_actions(data: Transitions, task: Task) -> NDArray[Any]:
    """Every agent's mean action, or its most frequent discrete one ``[N(, a)]``."""
    agents = data.num_agents
    if isinstance(task.action_space, Discrete):
        count = int(task.action_space.n)
        taken = np.bincount(data.agent * count + data.action, minlength=agents * count)
        return taken.reshape(agents, count).argmax(1)
    counts = np.maximum(np.bincount(data.agent, minlength=agents), 1)
    sums = [np.bincount(data.agent, column, agents) for column in data.action.T]
    return (np.stack(sums, 1) / counts[:, None]).astype(np.float32)
