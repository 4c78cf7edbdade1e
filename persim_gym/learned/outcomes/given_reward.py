"""A task whose reward a user has given: an expression over columns, or a Python function."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array, Task, check_task
from persim_gym.envs.suites import SUITES
from persim_gym.learned.outcomes.expression import NEXT, Columns, Expression, quoted

#: Rewards ``[...]`` of arrays ``[..., d]``, ``[...]`` or ``[..., a]``, ``[..., d]``.
RewardFunction: TypeAlias = Callable[[Any, Any, Any], Any]
Reward: TypeAlias = "str | RewardFunction"

_IN_A_FILE = re.compile(r"(?s)(.+\.py):(\w+)")


class RewardedTask:
    """A task with another reward; all else is the task's.

    Use :func:`rewarded`.

    Args:
        task: The task.
        reward: An expression (see :class:`~persim_gym.learned.outcomes.expression.Expression`), or
            a function of observations ``[..., d]``, actions ``[...]`` or ``[..., a]`` and next
            observations ``[..., d]``, which are NumPy arrays, that returns rewards ``[...]``.

    Raises:
        TypeError: If the reward is neither, or the function fails.
        ValueError: If the expression is not allowed, or what the function returns has another
            shape.
    """

    def __init__(self, task: Task, reward: Reward) -> None:
        check_task(task)
        self.base = task
        self.given: Reward = reward
        self.expression = Expression(reward, columns_of(task)) if isinstance(reward, str) else None
        if self.expression is None:
            if not callable(reward):
                raise TypeError(
                    "reward must be an expression over columns or a function of (obs, action, "
                    f"next_obs), got {checks.shown(reward)}"
                )
            self._try_out()

    # What Task names is here; a task's own further parts, such as its drawing, are below.
    name = property(lambda self: self.base.name)
    observation_space = property(lambda self: self.base.observation_space)
    action_space = property(lambda self: self.base.action_space)
    max_episode_steps = property(lambda self: self.base.max_episode_steps)
    render_fps = property(lambda self: self.base.render_fps)
    root_velocity = property(lambda self: self.base.root_velocity)
    reward_range = None  # the task's is of another reward

    def __getattr__(self, name: str) -> Any:
        """What else the task has."""
        if name.startswith("__") or name == "base":  # not yet there while it is unpickled
            raise AttributeError(name)
        return getattr(self.base, name)

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Rewards ``[...]`` of ``[..., d]``, actions ``[...]`` or ``[..., a]``, ``[..., d]``.

        Raises:
            ValueError: If one is not finite; in tensors, which are a planner's, that may be.
        """
        if isinstance(next_obs, Tensor):
            if self.expression is not None:
                return self.expression(obs, action, next_obs)
            plain = (torch.as_tensor(part).cpu().numpy() for part in (obs, action, next_obs))
            return torch.as_tensor(self._function(*plain)).to(next_obs)
        found = (self.expression or self._function)(obs, action, next_obs)
        if not np.isfinite(found).all():
            self._refuse(obs, action, next_obs, found)
        return found

    def terminated(self, next_obs: Array) -> Array:
        """As of the task."""
        return self.base.terminated(next_obs)

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """As of the task."""
        return self.base.sample_start(rng, n)

    def _function(self, obs: Any, action: Any, next_obs: Any) -> NDArray[np.float64]:
        """The function's values, of arrays with the same leading axes."""
        own = 0 if isinstance(self.action_space, Discrete) else 1
        parts = (np.asarray(obs), np.asarray(action), np.asarray(next_obs))
        inner = [parts[0].shape[-1:], parts[1].shape[parts[1].ndim - own :], parts[2].shape[-1:]]
        leads = [part.shape[: part.ndim - len(o)] for part, o in zip(parts, inner, strict=True)]
        lead = np.broadcast_shapes(*leads)
        given = [np.broadcast_to(p, (*lead, *o)) for p, o in zip(parts, inner, strict=True)]
        found = np.asarray(cast(RewardFunction, self.given)(*given), dtype=np.float64)
        if found.shape != lead:
            raise ValueError(
                f"the reward function returned the shape {found.shape} for observations "
                f"{given[2].shape}, expected {lead}: a number for each step, as from "
                "-abs(next_obs[..., 0])"
            )
        return found

    def _try_out(self) -> None:
        """Call the function once, on a batch of two by three steps.

        Raises:
            TypeError: If it fails.
        """
        rng = np.random.default_rng(0)
        obs = self.base.sample_start(rng, 6).reshape(2, 3, -1)
        space = self.action_space
        if isinstance(space, Box):
            action: Any = np.broadcast_to(np.nan_to_num(space.low), (2, 3, *space.low.shape))
        else:
            action = np.zeros((2, 3), dtype=np.int64)
        try:
            self._function(obs, action, obs)
        except ValueError as error:
            if str(error).startswith("the reward function returned"):
                raise
            raise TypeError(_failed(error)) from error
        except Exception as error:
            raise TypeError(_failed(error)) from error

    def _refuse(self, obs: Any, action: Any, next_obs: Any, found: Any) -> None:
        place = np.unravel_index(int(np.argmin(np.isfinite(found))), np.shape(found))
        columns = columns_of(self)
        said = []
        for kind, part in (("", obs), ("next.", next_obs)):
            row = np.broadcast_to(part, (*np.shape(found), np.shape(part)[-1]))[place]
            said += [f"{kind}{n}={v:.4g}" for n, v in zip(columns.state, row, strict=True)]
        what = self.given if isinstance(self.given, str) else "of the function"
        raise ValueError(
            f"the reward {what} is {np.asarray(found)[place]}, and must be finite: at "
            f"{', '.join(said)}"
        )

    def __repr__(self) -> str:
        """A short description."""
        return f"RewardedTask({self.base!r}, {self.given!r})"


def rewarded(task: Task, reward: Reward | None) -> Task:
    """A task with another reward; with ``None`` the task as it is.

    Args:
        task: The task. If it has been given a reward before, that one is replaced.
        reward: As of :class:`RewardedTask`.
    """
    return task if reward is None else RewardedTask(without_given(task), reward)


def without_given(task: Task) -> Task:
    """A task with the reward that it came with."""
    return task.base if isinstance(task, RewardedTask) else task


def check_has_reward(task: Task) -> None:
    """Refuse to choose by a reward that says nothing, such as of data that came without one.

    Raises:
        ValueError: If the reward is the same everywhere, and 0 or no episode ends.
    """
    if not has_reward(task):
        why = "the data have no reward that could be learned"
        if isinstance(task, RewardedTask):
            why = f"the reward {task.given} is the same everywhere"
        raise ValueError(
            f"{why}, so there is nothing to choose by: give "
            f"one over the columns {columns_of(task)}, such as "
            f'reward="-abs({NEXT}.{quoted(columns_of(task).state[0])} - 1)"'
        )


def has_reward(task: Task) -> bool:
    """Whether there is something to choose by: a reward that varies, or an end."""
    card = getattr(without_given(task), "card", {})
    reward, end = (card.get(part, {}).get("kind") for part in ("reward", "termination"))
    if isinstance(task, RewardedTask):
        reward = "given" if task.expression is None or task.expression.varies else "constant"
    elif reward == "constant" and getattr(task, "reward_range", None) == (0.0, 0.0):
        return False  # ends of episodes that earn nothing
    return (reward, end) != ("constant", "never")


def columns_of(task: Task) -> Columns:
    """What the columns of a task are called in an expression.

    Where data give no names they are ``obs_0``, ``obs_1``, ... and ``action_0``, ... or, of a
    single one, ``action``. A unit in the name of one of this package's own coordinates is left out.
    """
    d = task.observation_space.shape[0]
    state = getattr(task, "obs_names", None)
    suite = SUITES.get(task.name)
    if state is None and suite is not None and len(suite.coordinates) == d:
        state = [re.sub(r" \(.*\)$", "", name).replace(" ", "_") for name in suite.coordinates]
    if state is None or len(set(state)) < d:
        state = [f"obs_{i}" for i in range(d)]
    space, action = task.action_space, getattr(task, "action_names", None)
    width = 1 if isinstance(space, Discrete) else int(np.prod(space.shape))
    if action is None or len(action) != width:
        action = ["action"] if width == 1 else [f"action_{i}" for i in range(width)]
    discrete = isinstance(space, Discrete)
    labels = getattr(task, "action_labels", None) if discrete else None
    return Columns(tuple(state), tuple(action), discrete, tuple(labels or ()))


def read_reward(text: str | None) -> Reward | None:
    """The reward of a command line: an expression, or ``file.py:function``, which is run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file fails, or has no such function.
    """
    match = None if text is None else _IN_A_FILE.fullmatch(text.strip())
    if match is None:
        return text
    path, name = checks.as_path("--reward", match[1]), match[2]
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path} with a reward function{checks.beside(path)}"
        )
    return _function_in(path, name)


def _function_in(path: Path, name: str) -> RewardFunction:
    spec = importlib.util.spec_from_file_location(f"_reward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} can not be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise ValueError(f"{path} has no function {name!r}: {has}")
    return cast(RewardFunction, found)


def _failed(error: Exception) -> str:
    return (
        "the reward function fails on observations of the shape (2, 3, d), actions of the shape "
        f"(2, 3) or (2, 3, a) and next observations as observations: {type(error).__name__}: "
        f"{error}"
    )


__all__ = [
    "Columns", "Reward", "RewardedTask", "check_has_reward", "columns_of", "has_reward", "quoted",
    "read_reward", "rewarded", "without_given",
]  # fmt: skip
