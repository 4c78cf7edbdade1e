"""Data on a circle with a wrapped heading, and an ensemble that is no linear function of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.data import Data
from persim_gym.learned.features.ensemble import FrameEnsemble, register
from persim_gym.learned.features.frame import Frame
from tests.learned.worlds import PlainTask, transitions

DISCRETE, CONTINUOUS = PlainTask.of(5, actions=3), PlainTask.of(5, action_dim=2)


def data_of(task: PlainTask, agents: int = 4, steps: int = 60, noise: float = 0.0) -> Data:
    """Agents on a circle (columns 3 and 1) with a wrapped heading (0), a speed and a constant."""
    rng = np.random.default_rng(0)
    n = agents * steps
    if hasattr(task.action_space, "n"):
        action: NDArray[Any] = rng.integers(0, task.action_space.n, n)
    else:
        action = rng.uniform(-1, 1, (n, 2))
    turn = rng.uniform(-0.5, 0.5, (2, agents, steps + 1)).cumsum(2) * 3
    speed = rng.normal(size=(agents, steps + 1)) * 2 + 5
    columns = [
        np.pi - (np.pi - turn[0]) % (2 * np.pi), np.sin(turn[1]), speed, np.cos(turn[1]),
        np.full_like(speed, 7.0),
    ]  # fmt: skip
    walk = np.stack(columns, axis=2) + noise * rng.normal(size=(agents, steps + 1, 5))
    before, after = (part.reshape(n, 5) for part in (walk[:, :-1], walk[:, 1:]))
    return Data(transitions(np.repeat(np.arange(agents), steps), before, action, after), task)


def names_of(
    frame: Frame, obs_names: tuple[str, ...], action_names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the features ``[q]``, by those of observations and of what actions are coded as."""
    inner = frame.geometry.names(obs_names)
    turning = [inner[k] for k in frame.geometry.periodic]
    found = [inner[k] for k in frame.geometry.plain]
    found += [f"cos({n})" for n in turning] + [f"sin({n})" for n in turning]
    steps = range(1, frame.lag)
    found += [f"change of {n}[-{back}]" for back in steps for n in inner]
    found += [f"{n}[-{back}]" for back in steps for n in action_names if frame.past]
    every = [*found, *action_names]
    return tuple(every[k] for k in frame.kept)


@register
class Bend:
    """Changes that are no linear function of anything."""

    kind: ClassVar[str] = "test-bend"

    def __init__(self, factors: Tensor, weights: Tensor) -> None:
        self.factors, self.weights = factors, weights  # [m, N, c], [m, q, c]

    @classmethod
    def drawn(cls, frame: Frame, members: int = 3, agents: int = 4) -> Bend:
        rng = np.random.default_rng(0)
        shapes = ((members, agents, frame.targets), (members, frame.size, frame.targets))
        return cls(*(torch.as_tensor(rng.normal(size=shape) * 0.3) for shape in shapes))

    @property
    def members(self) -> int:
        return len(self.factors)

    @property
    def num_agents(self) -> int:
        return self.factors.shape[1]

    @property
    def widths(self) -> tuple[int, int]:
        return (self.weights.shape[1], self.weights.shape[2])

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        return torch.tanh(features @ self.weights + self.factors[:, agents])

    def with_factors(self, factors: Tensor) -> Bend:
        return Bend(factors, self.weights)

    def to(self, device: Any, dtype: torch.dtype | None = None) -> Bend:
        return Bend(*(p.to(device, dtype) for p in (self.factors, self.weights)))

    def tensors(self) -> dict[str, Tensor]:
        return {"factors": self.factors, "weights": self.weights}

    def meta(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Bend:
        return cls(**tensors, **meta)


def made(task: PlainTask, lag: int, kind: type[Bend] = Bend) -> tuple[Data, FrameEnsemble]:
    data = data_of(task)
    frame = Frame.of(data, lag)
    model = kind.drawn(frame)
    low = torch.tensor([-4.0, -2, 3.5, -2, 0])
    high = torch.tensor([4.0, 2, 6.5, 2, 9])
    # Over the speed's upper bound, the last coordinate is drawn to 1 (inner coordinates).
    effect = torch.tensor([[0, 0, 0, 0.5], [1, 1, 1, 0.5], [0, 0, 0, 0]]).double()
    bounds = (torch.tensor([2]), torch.tensor([1.0]).double(), torch.tensor([6.5]).double())
    effects = BoundEffects(*bounds, effect[None])
    return data, FrameEnsemble(frame, model, low, high, effects)
