"""Behaviour policies: who acts while trajectories are recorded.

Every policy has Stable-Baselines3's ``predict``. One that also has ``begin_episodes``
(:class:`~persim_gym.rollout.Behaviour`) knows which agents' episodes begin and with which seed, and
so can make an episode depend on nothing but (seed, agent, index of the episode), however the
episodes are batched.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Policy, Task, check_task
from persim_gym.policies.paper_behaviours import BEHAVIOURS, NearestPolicy, TestPolicy
from persim_gym.policies.shipped import check_spaces
from persim_gym.rollout import Chooser, EpisodeBatch, check_shape, start_episodes


class RandomPolicy:
    """Uniform random actions.

    Args:
        action_space: A ``Discrete`` or bounded ``Box``. The recorder takes the task's; only
            :meth:`predict` needs it.
        seed: Seed of :meth:`predict`; a recording has its own.
    """

    name = "random"

    def __init__(self, action_space: Space[Any] | None = None, *, seed: int = 0) -> None:
        check_space(action_space)
        self.action_space = action_space
        self.seed = seed = checks.integer("seed", seed)
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, or one for ``[d]``; always random.

        Raises:
            ValueError: If there is no action space to draw from.
        """
        obs = np.asarray(observation)
        actions = draw_actions(
            _needed(self.action_space, self), self._rng, math.prod(obs.shape[:-1])
        )
        return (actions if obs.ndim > 1 else actions[0]), state

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """All actions of all episodes at once, each episode's from its own generator."""
        space = batch.task.action_space
        drawn = np.stack([draw_actions(space, rng, batch.horizon) for rng in batch.generators()])

        def choose(step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]) -> NDArray[Any]:
            return drawn[lanes, step]

        return choose


class EpsilonMixture:
    """A uniform random action with probability epsilon, else the wrapped policy's.

    Args:
        policy: What :func:`as_policy` accepts.
        epsilon: Probability of a random action in each step, 0 to 1.
        action_space: As in :class:`RandomPolicy`; by default the wrapped policy's.
        seed: Seed of :meth:`predict`; a recording has its own.

    Raises:
        TypeError: If ``policy`` is no policy or ``epsilon`` no number.
        ValueError: If ``epsilon`` is not in [0, 1].
    """

    def __init__(
        self,
        policy: Any,
        epsilon: float,
        *,
        action_space: Space[Any] | None = None,
        seed: int = 0,
    ) -> None:
        given: object = epsilon
        if isinstance(given, bool) or not isinstance(given, numbers.Real):
            raise TypeError(f"epsilon must be a number from 0 to 1, got {checks.shown(given)}")
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon is a probability, 0 to 1, got {epsilon!r}")
        self.policy = as_policy(policy)
        self.epsilon = float(epsilon)
        if action_space is None:
            action_space = getattr(policy, "action_space", None)
        self.action_space = action_space
        check_space(action_space)
        self.seed = checks.integer("seed", seed)
        self._rng = np.random.default_rng(self.seed)

    @property
    def name(self) -> str:
        """Such as ``"dqn-eps-20"``, after the wrapped policy and epsilon in percent."""
        return f"{behaviour_name(self.policy)}-eps-{_slug(f'{100 * self.epsilon:g}')}"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, or one for ``[d]``.

        ``deterministic`` is the wrapped policy's affair; epsilon stays what it is.

        Raises:
            ValueError: If there is no action space to draw from.
        """
        space = _needed(self.action_space, self)
        obs = np.asarray(observation)
        rows = math.prod(obs.shape[:-1])
        chosen, state = self.policy.predict(observation, state, episode_start, deterministic)
        actions = np.asarray(chosen)[None] if obs.ndim == 1 else np.asarray(chosen)
        check_shape(actions, rows, space)
        strays = self._rng.random(rows) < self.epsilon
        actions = _mixed(strays, draw_actions(space, self._rng, rows), actions)
        return (actions if obs.ndim > 1 else actions[0]), state

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Coins and random actions of all episodes at once, each from its own generators."""
        space, horizon = batch.task.action_space, batch.horizon
        coins, drawn = [], []
        for rng in batch.generators():
            # Two streams, so that an episode's beginning does not depend on the time limit.
            coin_rng, action_rng = rng.spawn(2)
            coins.append(coin_rng.random(horizon) < self.epsilon)
            drawn.append(draw_actions(space, action_rng, horizon))
        strays, random_actions = np.stack(coins), np.stack(drawn)
        wrapped = start_episodes(self.policy, batch.inner())

        def choose(step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]) -> NDArray[Any]:
            actions = np.asarray(wrapped(step, lanes, obs))
            check_shape(actions, len(lanes), space)
            return _mixed(strays[lanes, step], random_actions[lanes, step], actions)

        return choose


class FunctionPolicy:
    """A function of the observations as a policy.

    Args:
        function: Observations ``[n, d]`` (float32) -> actions ``[n(, a)]``; without memory. What
            it draws at random is its own affair: a recording is then as reproducible as it is.
        name: A name for data sets; by default the function's.

    Raises:
        TypeError: If ``function`` cannot be called.
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"a function of observations is needed, got {function!r}")
        self.function = function
        self.name = name or _slug(getattr(function, "__name__", "")) or "function"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """The function's actions for observations ``[n, d]``, or its action for one ``[d]``."""
        obs = np.asarray(observation)
        actions = np.asarray(self.function(obs if obs.ndim > 1 else obs[None]))
        return (actions if obs.ndim > 1 else actions[0]), state

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """The function has no memory: it sees the running lanes only."""
        return lambda step, lanes, obs: np.asarray(self.function(obs))


def as_policy(policy: Any, task: Task | None = None) -> Policy:
    """A policy from whatever ``policy=`` may be.

    Args:
        policy: A name (``"random"``, ``"pure"``, ``"pure-eps-20"`` or another percentage,
            ``"test"``), a function of observations ``[n, d]``, or anything with ``predict``.
        task: Whose actions random policies draw outside a recording, and whose policies ship.

    Raises:
        TypeError: If it is none of these.
        ValueError: If there is no behaviour of that name, none for the task, or the policy's spaces
            are not the task's.
    """
    if task is not None:
        check_task(task)
    space = None if task is None else task.action_space
    if isinstance(policy, str):
        return _named(policy, task)
    if isinstance(policy, type):
        raise TypeError(f"a policy is needed, got the class {policy.__name__}: make one of it")
    if isinstance(policy, RandomPolicy) and policy.action_space is None:
        return RandomPolicy(space, seed=policy.seed)
    if isinstance(policy, EpsilonMixture) and task is not None:
        wrapped = as_policy(policy.policy, task)  # whose spaces are checked, too
        if policy.action_space is None:
            return EpsilonMixture(wrapped, policy.epsilon, action_space=space, seed=policy.seed)
    if callable(getattr(policy, "predict", None)):
        if task is not None:
            check_spaces(policy, task)
        return policy
    if callable(policy):
        return FunctionPolicy(policy)
    raise TypeError(
        "policy must be a behaviour's name, a function of the observations or an object with "
        f"predict(), got {policy!r}"
    )


def _named(name: str, task: Task | None) -> Policy:
    # Here and not above: that module builds on this one.
    space = None if task is None else task.action_space
    if name == RandomPolicy.name:
        return RandomPolicy(space)
    if name == NearestPolicy.name:
        return NearestPolicy(task)
    if name == TestPolicy.name:
        return TestPolicy(task)
    mixed = re.fullmatch(r"pure-eps-(\d+(?:\.\d+)?)", name)
    if mixed is None:
        there = (*BEHAVIOURS, TestPolicy.name)
        raise ValueError(
            f"unknown behaviour {name!r}{checks.meant(name, there)}: there are "
            f"{', '.join(map(repr, there))} (with any percentage after 'eps-'); others are given "
            "as a function of the observations or as an object with predict()"
        )
    percent = float(mixed[1])
    if percent > 100:
        raise ValueError(
            f"behaviour {name!r}: random actions are 0 to 100 percent, such as 'pure-eps-20'"
        )
    return EpsilonMixture(NearestPolicy(task), percent / 100, action_space=space)


def behaviour_name(policy: Any) -> str:
    """A policy's name for data sets: its own, or that of its class, such as ``"dqn"``."""
    name = getattr(policy, "name", None)
    return _slug(name if isinstance(name, str) else type(policy).__name__) or "policy"


def draw_actions(space: Space[Any], rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Uniform actions ``[n(, a)]``; a longer draw begins with a shorter one of the same seed.

    Raises:
        ValueError: If there is no uniform action: the space is unbounded or of another kind.
    """
    if isinstance(space, Discrete):
        return rng.integers(space.start, space.start + space.n, size=n)
    if isinstance(space, Box) and space.is_bounded():
        return rng.uniform(space.low, space.high, size=(n, *space.shape)).astype(space.dtype)
    raise ValueError(f"uniform actions need a Discrete or a bounded Box, got {space}")


def check_space(space: object) -> None:
    """Check that something can be a space of actions, or is not given.

    Raises:
        TypeError: If it is no space.
    """
    if space is not None and not isinstance(space, Space):
        raise TypeError(f"action_space must be a Discrete or a Box, got {checks.shown(space)}")


def _mixed(
    strays: NDArray[np.bool_], random_actions: NDArray[Any], actions: NDArray[Any]
) -> NDArray[Any]:
    # `where` finds a type that holds both: integers put into a Box would cut the random actions.
    return np.where(strays.reshape(-1, *[1] * (actions.ndim - 1)), random_actions, actions)


def _needed(space: Space[Any] | None, policy: object) -> Space[Any]:
    if space is None:
        raise ValueError(
            f"{type(policy).__name__} needs an action space to draw from: give action_space="
        )
    return space


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
