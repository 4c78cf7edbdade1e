"""`DataTask`: the task of data that come without one: spaces, starts, reward and end from rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array
from persim_gym.learned.comparison.holdout import wandered
from persim_gym.learned.geometry.walls import find_walls
from persim_gym.learned.outcomes.head_choice import Split, fit_classifier, fit_regression, split
from persim_gym.learned.outcomes.heads import Head
from persim_gym.learned.outcomes.limits import find_limits
from persim_gym.offline.transitions import Transitions, with_units

if TYPE_CHECKING:
    from persim_gym.envs.rendering import Renderer

#: By how many widths of its recorded range a coordinate's space reaches further on each side. The
#: guard of learned environments stops half a width out: the space is not to clip before it.
SPACE_MARGIN = 1.0
#: For how many times the longest trajectory there is room for what adds up.
ROOM = 10

#: Lower and upper ends of the coordinates ``[d]`` each.
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Frames per second of a drawing: of data alone it is not known how long a step takes.
FRAMES = 10


class DataTask:
    """The task that recorded transitions imply: a :class:`~persim_gym.core.Task`.

    * The observation space is the recorded range of each coordinate, a width wider on each side,
      or as far as what adds up comes in ten times the longest trajectory, up to walls that the data
      show and physical limits (:mod:`persim_gym.learned.outcomes.limits`).
    * The action space is the recorded range, or the recorded number of discrete actions.
    * The time limit is the longest trajectory's number of steps.
    * Episodes start in recorded first observations.
    * The reward is learned from the recorded one, as a function of observation, action and next
      observation that all agents share; it stays within the recorded range. No validation can
      earn more: a reward that was never recorded is what a policy would go for.
    * Termination is learned from the next observation, if any trajectory terminates.

    Use :meth:`from_transitions`; the constructor takes the parts.

    Args:
        name: The task's name.
        low: Smallest observations ``[d]``.
        high: Largest observations ``[d]``.
        action_space: Actions.
        max_episode_steps: Time limit.
        starts: Recorded first observations ``[E, d]``.
        reward: The reward of rows made by :func:`features`.
        reward_range: Bounds of the reward.
        termination: Positive where next observations end the episode; ``None`` for never.
        card: How the heads were chosen and what they are worth; plain types.
        limits: Physical limits of the coordinates ``[d]`` each.
        recorded: Recorded range of the coordinates ``[d]`` each.
        obs_names: Names of the coordinates.
        action_names: Names of the action's coordinates.
        action_labels: Names of discrete actions.
        obs_units: Units of the coordinates, where they are known.
        action_units: Units of the action's coordinates.
    """

    render_fps = FRAMES
    root_velocity = None
    #: The action space is no more than what was recorded: beyond it no action is known to be cut.
    recorded_actions = True

    def __init__(
        self,
        name: str,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        action_space: Discrete | Box,
        max_episode_steps: int,
        starts: NDArray[np.float32],
        reward: Head,
        reward_range: tuple[float, float],
        termination: Head | None,
        card: dict[str, Any],
        limits: Ends,
        recorded: Ends,
        obs_names: tuple[str, ...] | None = None,
        action_names: tuple[str, ...] | None = None,
        action_labels: tuple[str, ...] | None = None,
        obs_units: tuple[str, ...] | None = None,
        action_units: tuple[str, ...] | None = None,
    ) -> None:
        self.name = name
        self.observation_space = Box(low, high, dtype=np.float32)
        self.action_space = action_space
        self.max_episode_steps = max_episode_steps
        self.starts = starts
        self.card = card
        self.obs_names = obs_names
        self.action_names = action_names
        self.action_labels = action_labels
        for units, names in ((obs_units, obs_names), (action_units, action_names)):
            if units is not None and names is not None and len(units) != len(names):
                raise ValueError(f"units are one for each of {len(names)} coordinates, got {units}")
        self.obs_units = obs_units
        self.action_units = action_units
        self.limits = limits
        self._recorded = recorded
        self._reward = reward
        self.reward_range = reward_range
        self._termination = termination

    @property
    def walls(self) -> Ends:
        """Bounds of the space at which something cuts off what the dynamics do ``[d]`` each.

        The others are limits of predictions alone: data may lie on them as they are.
        """
        space = self.observation_space
        known = self.card.get("walls")
        at = np.zeros((2, *space.shape), np.bool_) if known is None else np.array(known, np.bool_)
        if at.shape != (2, *space.shape):
            raise ValueError(f"walls are two for each of {space.shape[0]} coordinates, got {known}")
        return np.where(at[0], space.low, -np.inf), np.where(at[1], space.high, np.inf)

    @property
    def obs_labels(self) -> tuple[str, ...] | None:
        """Names of the coordinates with their units ``[d]``, for axes and tables."""
        return with_units(self.obs_names, self.obs_units)

    # -- the task ------------------------------------------------------------------------------

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Predicted rewards ``[...]`` of ``[..., d]``, actions ``[...]`` or ``[..., a]``."""
        obs_, action_, next_ = (torch.as_tensor(part) for part in (obs, action, next_obs))
        rows = features(obs_, action_, next_, self.action_space)
        values = self._reward(rows).clamp(*self.reward_range)
        return values if isinstance(next_obs, Tensor) else values.numpy()

    def terminated(self, next_obs: Array) -> Array:
        """Whether states ``[..., d]`` are predicted to end the episode, as booleans ``[...]``."""
        rows = torch.as_tensor(next_obs)
        if self._termination is None:
            ends = torch.zeros(rows.shape[:-1], dtype=torch.bool, device=rows.device)
        else:
            ends = self._termination(rows) > 0
        return ends if isinstance(next_obs, Tensor) else ends.numpy()

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Recorded first observations ``[n, d]``, each as likely as any other."""
        return self.starts[rng.integers(0, len(self.starts), size=n)].astype(np.float64)

    def renderer(self) -> Renderer:
        """The drawing of an episode: running time series, the recorded range shaded."""
        from persim_gym.envs.painter import REMEMBERED
        from persim_gym.envs.rendering.strips import StripsRenderer

        shaded = np.stack(self._recorded)
        names = self.obs_labels or [f"coordinate {i}" for i in range(shaded.shape[1])]
        space = self.action_space
        if isinstance(space, Discrete):
            taken = np.array([[0.0], [space.n - 1.0]])
        else:
            taken = np.stack([space.low, space.high])
        actions = self.action_names or [f"action {i}" for i in range(taken.shape[1])]
        return StripsRenderer(
            names, shaded, actions, taken, min(self.max_episode_steps, REMEMBERED)
        )

    # -- making and keeping --------------------------------------------------------------------

    @classmethod
    def from_transitions(
        cls, data: Transitions, seed: int = 0, within: Transitions | None = None
    ) -> DataTask:
        """The task of recorded transitions; reward and termination are fitted in seconds.

        Args:
            data: The transitions.
            seed: Seed of what is held out, and of networks.
            within: Transitions in whose range the spaces are; by default the same.

        Raises:
            ValueError: If a continuous action never varies.
        """
        wide = data if within is None else within
        low = np.minimum(wide.obs.min(0), wide.next_obs.min(0)).astype(np.float64)
        high = np.maximum(wide.obs.max(0), wide.next_obs.max(0)).astype(np.float64)
        recorded, limits = (low, high), find_limits(wide)
        # What never changed has no width: a thousandth of its size, and 1 at least.
        size = np.maximum(1.0, 1e-3 * np.abs(high))
        longest = ROOM * int(wide.lengths.max())
        far = wandered(wide.next_obs, wide.episode, np.array([longest]))[0]
        margin = np.maximum(SPACE_MARGIN * np.where(high > low, high - low, size), far)
        largest = float(np.finfo(np.float32).max)
        walls = find_walls(wide)
        low = np.where(np.isinf(walls[0]), np.maximum(low - margin, -largest), walls[0])
        high = np.where(np.isinf(walls[1]), np.minimum(high + margin, largest), walls[1])
        low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
        space = _action_space(wide.action, wide.action_labels)
        starts = data.obs[data.starts]
        ends = np.logical_or.reduceat(data.terminated, data.starts)
        parts = split(data.starts, data.lengths, ends, seed)
        obs, action, next_obs = map(torch.as_tensor, (data.obs, data.action, data.next_obs))
        rows = features(obs.double(), action, next_obs.double(), space).numpy()
        reward, about_reward = fit_regression(rows, data.reward, parts, seed)
        termination, about_end = None, {"kind": "never"}
        if data.terminated.any():
            termination, about_end = _fit_termination(data, parts, seed)
        return cls(
            name=data.task_name or data.dataset_id or "data",
            low=low.astype(np.float32),
            high=high.astype(np.float32),
            action_space=space,
            max_episode_steps=int(data.lengths.max()),
            starts=starts,
            reward=reward,
            reward_range=(float(data.reward.min()), float(data.reward.max())),
            termination=termination,
            card={
                "reward": about_reward,
                "termination": about_end,
                "walls": np.isfinite(walls).tolist(),
            },
            obs_names=data.obs_names,
            action_names=data.action_names,
            action_labels=data.action_labels,
            obs_units=data.obs_units,
            action_units=data.action_units,
            limits=limits,
            recorded=recorded,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is an array, by name."""
        space = self.observation_space
        parts = {
            "starts": torch.as_tensor(self.starts),
            "low": torch.as_tensor(space.low),
            "high": torch.as_tensor(space.high),
        }
        if isinstance(self.action_space, Box):
            parts["action_low"] = torch.as_tensor(self.action_space.low)
            parts["action_high"] = torch.as_tensor(self.action_space.high)
        parts |= {f"reward.{name}": t for name, t in self._reward.tensors.items()}
        if self._termination is not None:
            parts |= {f"termination.{name}": t for name, t in self._termination.tensors.items()}
        return parts

    def to_json(self) -> dict[str, Any]:
        """Everything else, as plain types."""
        space = self.action_space
        return {
            "name": self.name,
            "actions": int(space.n) if isinstance(space, Discrete) else None,
            "max_episode_steps": self.max_episode_steps,
            "reward_range": list(self.reward_range),
            "reward_head": self._reward.kind,
            "termination_head": self._termination.kind if self._termination else None,
            "obs_names": list(self.obs_names) if self.obs_names else None,
            "action_names": list(self.action_names) if self.action_names else None,
            "action_labels": list(self.action_labels) if self.action_labels else None,
            "obs_units": list(self.obs_units) if self.obs_units else None,
            "action_units": list(self.action_units) if self.action_units else None,
            "limits": _plain_ends(self.limits),
            "recorded": _plain_ends(self._recorded),
            **self.card,
        }

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> DataTask:
        """The task that :meth:`tensors` and :meth:`to_json` describe.

        Raises:
            KeyError: If a part is missing.
        """

        def head(part: str, kind: str | None) -> Head | None:
            prefix = f"{part}."
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            return Head(kind, own) if kind else None

        if plain["actions"] is not None:
            space: Discrete | Box = Discrete(int(plain["actions"]))
        else:
            least_action, most_action = (
                tensors[f"action_{side}"].numpy() for side in ("low", "high")
            )
            space = Box(least_action, most_action, dtype=np.float32)
        reward = head("reward", plain["reward_head"])
        if reward is None:
            raise KeyError("reward_head")
        least, most = plain["reward_range"]
        kinds = ("obs_names", "action_names", "action_labels", "obs_units", "action_units")
        names = {key: tuple(plain[key]) if plain.get(key) else None for key in kinds}
        return cls(
            name=plain["name"],
            low=tensors["low"].numpy(),
            high=tensors["high"].numpy(),
            action_space=space,
            max_episode_steps=int(plain["max_episode_steps"]),
            starts=tensors["starts"].numpy(),
            reward=reward,
            reward_range=(float(least), float(most)),
            termination=head("termination", plain["termination_head"]),
            card={key: plain[key] for key in ("reward", "termination", "walls") if key in plain},
            limits=_ends_of(plain["limits"], len(tensors["low"])),
            recorded=_ends_of(plain["recorded"], len(tensors["low"])),
            **names,
        )

    def __repr__(self) -> str:
        """A short description."""
        return (
            f"DataTask({self.name!r}, {self.observation_space.shape[0]} coordinates, actions "
            f"{self.action_space})"
        )


def _plain_ends(ends: Ends) -> list[list[float | None]]:
    """Ends for JSON, which knows no infinity."""
    return [[x if np.isfinite(x) else None for x in end.tolist()] for end in ends]


def _ends_of(plain: Any, d: int) -> Ends:
    """What :func:`_plain_ends` has given.

    Raises:
        ValueError: If it is of other than ``d`` coordinates.
    """
    if [len(end) for end in plain] != [d, d]:
        raise ValueError(f"limits are two for each of {d} coordinates, got {plain}")
    low, high = (
        np.array([side * np.inf if x is None else x for x in end], dtype=np.float64)
        for side, end in zip((-1, 1), plain, strict=True)
    )
    return low, high


def outcomes_sha256(data: Transitions) -> str:
    """Hash of what a task is learned from beside observations and actions: rewards and ends."""
    digest = hashlib.sha256(np.ascontiguousarray(data.reward).data)
    digest.update(np.ascontiguousarray(data.terminated).data)
    return digest.hexdigest()


def features(obs: Tensor, action: Tensor, next_obs: Tensor, space: Discrete | Box) -> Tensor:
    """What a reward may depend on, as rows ``[..., p]``: next observation, action and change.

    Of discrete actions all but the first have a column of zeros and ones.
    """
    if isinstance(space, Discrete):
        others = torch.arange(1, int(space.n), device=action.device)
        action = (action[..., None] == others).to(next_obs.dtype)
    # Torch's own loads SymPy, which takes half a second; a graph knows its own sizes only.
    broadcast = torch.broadcast_shapes if torch.compiler.is_exporting() else np.broadcast_shapes
    lead = broadcast(obs.shape[:-1], action.shape[:-1], next_obs.shape[:-1])
    parts = (next_obs, action.to(next_obs.dtype), next_obs - obs)
    return torch.cat([part.expand(*lead, part.shape[-1]) for part in parts], dim=-1)


def _action_space(action: NDArray[Any], labels: tuple[str, ...] | None) -> Discrete | Box:
    if action.ndim == 1:
        return Discrete(len(labels) if labels else int(action.max()) + 1)
    low, high = action.min(0), action.max(0)
    if (same := np.flatnonzero(low == high)).size:
        raise ValueError(
            f"coordinate {same[0]} of the actions is {low[same[0]]} in every transition, so that "
            "nothing can be learned of it: leave it out"
        )
    return Box(low, high, dtype=np.float32)


def _fit_termination(
    data: Transitions, parts: Split, seed: int
) -> tuple[Head | None, dict[str, Any]]:
    """Terminal states against all others, those from which an action was taken included."""
    rows = np.concatenate([data.next_obs, data.obs[data.starts]]).astype(np.float64)
    labels = np.concatenate([data.terminated, np.zeros(len(data.starts), dtype=np.bool_)])
    # A trajectory's first observation stands with the rest of it.
    extra = len(data) + np.arange(len(data.starts))
    of = np.zeros(len(data), dtype=np.bool_)
    of[parts.held] = True
    late = of[data.starts]
    whole = Split(
        np.concatenate([parts.fit, extra[~late]]), np.concatenate([parts.held, extra[late]])
    )
    return fit_classifier(rows, labels, whole, seed)
