"""The behaviour model: what the data's behaviour may do in a state, by diffusion."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor, nn

from persim_gym.baselines.sfbc.diffusion import Schedule, solve
from persim_gym.baselines.sfbc.network import NoiseNetwork
from persim_gym.learned.moments import measure

SCHEDULE = Schedule()

#: Numbers of one layer's output that are computed together: more do not fit into memory's near
#: parts, and add nothing.
_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}


class DiffusionBehaviour(nn.Module):
    """Actions given observations, whatever shape their distribution has.

    Inside, observations have mean 0 and deviation 1, and actions are in [-1, 1].
    """

    mean: Tensor
    unit: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        space: Box,
        state_size: int,
        widths: tuple[int, ...],
        frequency: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        (size,) = space.shape
        self.widest = max(widths)
        self.network = NoiseNetwork(state_size, size, widths, frequency, generator)
        self.register_buffer("mean", torch.zeros(state_size))
        self.register_buffer("unit", torch.ones(state_size))
        self.register_buffer("low", torch.as_tensor(space.low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(space.high, dtype=torch.float32))

    @property
    def reach(self) -> Tensor:
        """Half of the actions' range ``[a]``."""
        return (self.high - self.low) / 2

    def measure(self, observations: NDArray[np.float32]) -> None:
        """Take the units of observations ``[T, d]``."""
        found = measure(len(observations), lambda rows: observations[rows])
        self.mean.copy_(torch.as_tensor(found.mean))
        self.unit.copy_(torch.as_tensor(found.unit))

    def states(self, observations: Tensor) -> Tensor:
        """Observations ``[..., d]`` in their units."""
        return (observations - self.mean) / self.unit

    def scaled(self, actions: Tensor) -> Tensor:
        """Actions ``[..., a]`` in their units."""
        middle = (self.high + self.low) / 2
        return ((actions - middle) / self.reach.clamp_min(1e-12)).clamp(-1, 1)

    def loss(self, states: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the noise that was added to actions ``[b, a]`` at random times."""
        options: dict[str, Any] = {"generator": generator, "device": actions.device}
        time = torch.rand((len(actions), 1), **options)
        time = SCHEDULE.least + (1 - SCHEDULE.least) * time
        noise = torch.randn(actions.shape, **options)
        alpha, sigma = SCHEDULE.scales(time)
        seen = self.network.see(states)
        found = self.network(alpha * actions + sigma * noise, time, seen)
        return nn.functional.mse_loss(found, noise)

    def noise(self, n: int, k: int, generator: torch.Generator) -> Tensor:
        """What ``k`` actions in each of ``n`` states are made from ``[n, k, a]``."""
        shape = (n, k, len(self.low))
        return torch.randn(shape, generator=generator, device=generator.device)

    @torch.no_grad()
    def draw(self, states: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Draw actions in each of the states, in one go.

        Args:
            states: In their units ``[n, d]``.
            noise: What they are made from ``[n, k, a]``: equal noise makes equal actions.
            steps: Steps of the sampler.

        Returns:
            Actions in their units ``[n, k, a]``.
        """
        room = _AT_ONCE.get(states.device.type, _AT_ONCE["cpu"])
        rows = max(1, room // (noise.shape[1] * self.widest))
        parts = []
        for own, begin in zip(states.split(rows), noise.split(rows), strict=True):
            seen = self.network.see(own)[:, None]
            denoise = functools.partial(self.network.denoise, SCHEDULE, seen)
            parts.append(solve(denoise, begin, SCHEDULE, steps))
        # Between the last time and 0 there is a little noise left, which may be over a bound.
        return torch.cat(parts).clamp(-1, 1)

    def actions(self, scaled: Tensor) -> NDArray[np.float32]:
        """Actions ``[..., a]`` from their units, inside their space."""
        found = (self.high + self.low) / 2 + self.reach * scaled
        return np.asarray(found.clamp(self.low, self.high).cpu().numpy())
