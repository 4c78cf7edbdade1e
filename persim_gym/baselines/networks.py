"""Small networks of the model-free baselines, and the units in which they see data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from persim_gym.baselines.resumable import of_part
from persim_gym.core import Task
from persim_gym.learned.moments import measure
from persim_gym.offline.transitions import Transitions

#: Smallest and largest logarithm of a policy's standard deviation, as in SAC.
LOG_DEVIATION = (-20.0, 2.0)


class Mlp(nn.Sequential):
    """Linear layers with ReLU in between.

    Args:
        widths: Of all layers, the input's first.
    """

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after, dtype=torch.float32), nn.ReLU()]
        super().__init__(*layers[:-1])


def mlp_of(tensors: Mapping[str, Tensor], part: str) -> Mlp:
    """The network that was kept as ``part``, to act with.

    Raises:
        KeyError: If there is none.
        RuntimeError: If its layers do not fit together.
    """
    own = of_part(tensors, part)
    weights = [own[f"{k}.weight"] for k in sorted({int(name.partition(".")[0]) for name in own})]
    if not weights:
        raise KeyError(part)
    widths = (weights[0].shape[1], *(weight.shape[0] for weight in weights))
    with torch.device("meta"):  # else torch draws weights from its global generator
        network = Mlp(*widths)
    network.load_state_dict(own, assign=True)
    return network.requires_grad_(False).train(False)


@dataclass(frozen=True, slots=True)
class Units:
    """The units in which networks see observations, actions and rewards.

    Attributes:
        mean: Of observations ``[d]``.
        scale: Their standard deviation ``[d]``; 1 where one is constant.
        low: Least actions ``[a]``; empty for discrete ones.
        high: Largest actions ``[a]``.
        reward: Root mean square of the rewards ``[1]``; 1 if all are 0.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    reward: Tensor

    @classmethod
    def measured(cls, transitions: Transitions, task: Task) -> Self:
        """The units of data."""
        seen = measure(len(transitions), lambda rows: transitions.obs[rows])
        reward = float(np.sqrt(np.mean(np.square(transitions.reward))))
        space: Any = task.action_space
        empty = np.zeros(0)
        low, high = (empty, empty) if isinstance(space, Discrete) else (space.low, space.high)
        values = (seen.mean, seen.unit, low.ravel(), high.ravel(), [reward or 1.0])
        return cls(*(torch.as_tensor(np.asarray(v), dtype=torch.float32) for v in values))

    def tensors(self) -> dict[str, Tensor]:
        """What is kept of them."""
        names = ("mean", "scale", "low", "high", "reward")
        return {f"units.{name}": getattr(self, name) for name in names}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The units that :meth:`tensors` has given."""
        return cls(**of_part(tensors, "units"))

    def observations(self, obs: Any, device: torch.device) -> Tensor:
        """Observations ``[n, d]`` as networks see them."""
        rows = torch.as_tensor(obs, dtype=torch.float32, device=device)
        return (rows - self.mean.to(device)) / self.scale.to(device)

    def actions(self, actions: Any) -> Tensor:
        """Continuous actions ``[n, a]``, their range as -1 to 1."""
        rows = torch.as_tensor(actions, dtype=torch.float32).reshape(len(actions), -1)
        width = torch.where(self.high > self.low, self.high - self.low, 1.0)
        return (2 * (rows - self.low) / width - 1).clamp(-1, 1)

    def back(self, actions: Tensor) -> Tensor:
        """Actions of -1 to 1 in the range of the task."""
        return self.low + (actions + 1) / 2 * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Rows:
    """Transitions in the networks' units, on the device.

    Attributes:
        obs: ``[T, d]``.
        action: ``[T]`` integers or ``[T, a]`` from -1 to 1.
        next_obs: ``[T, d]``.
        reward: ``[T]``.
        done: 1 where an episode has terminated, which a time limit does not ``[T]``.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    reward: Tensor
    done: Tensor

    @classmethod
    def of(cls, t: Transitions, task: Task, units: Units, device: torch.device) -> Self:
        """Transitions on a device."""
        discrete = isinstance(task.action_space, Discrete)
        action = torch.as_tensor(t.action) if discrete else units.actions(t.action)
        reward = torch.as_tensor(t.reward, dtype=torch.float32) / units.reward
        return cls(
            units.observations(t.obs, device),
            action.to(device),
            units.observations(t.next_obs, device),
            reward.to(device),
            torch.as_tensor(t.terminated, dtype=torch.float32, device=device),
        )

    def drawn(self, size: int) -> tuple[Tensor, ...]:
        """A batch of that many, drawn by torch's global generator: a fit has seeded it."""
        rows = torch.randint(len(self.obs), (size,)).to(self.obs.device)
        return (
            self.obs[rows],
            self.action[rows],
            self.next_obs[rows],
            self.reward[rows],
            self.done[rows],
        )
