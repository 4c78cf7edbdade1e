"""The noise network: a U of residual blocks, each of them conditioned on state and time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from persim_gym.baselines.sfbc.diffusion import Schedule

#: Width of the state's and of the time's part of the condition, and of the two together.
PART, CONDITION = 32, 128


class Block(nn.Module):
    """Two layers beside a skip; the condition is added between them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.condition = nn.Linear(CONDITION, after)
        self.first, self.second = nn.Linear(before, after), nn.Linear(after, after)
        self.skip = nn.Identity() if before == after else nn.Linear(before, after)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """From ``[..., before]`` and a condition ``[..., c]`` that is broadcast to it."""
        act = nn.functional.silu
        hidden = act(self.first(x)) + self.condition(act(condition))
        out: Tensor = act(self.second(hidden)) + self.skip(x)
        return out


class NoiseNetwork(nn.Module):
    """Predicts the noise in noisy actions, given the state and the time.

    Its blocks grow narrower and then wider again, and what was seen on the way down is handed
    over to the way up.

    Args:
        state_size: Coordinates of a state ``d``.
        action_size: Coordinates of an action ``a``.
        widths: Widths of the way down.
        frequency: Standard deviation of the frequencies of the time's Fourier features.
        generator: Where the weights come from.
    """

    frequencies: Tensor

    def __init__(
        self,
        state_size: int,
        action_size: int,
        widths: Sequence[int],
        frequency: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.state = nn.Linear(state_size, PART)
        self.join, self.mix = nn.Linear(2 * PART, CONDITION), nn.Linear(CONDITION, CONDITION)
        ways = [action_size, *widths]
        self.down = nn.ModuleList(map(Block, ways[:-1], ways[1:]))
        self.middle = Block(widths[-1], widths[-1])
        # On the way up a block sees its own level twice: handed over, and from below.
        ways = list(reversed(widths))
        self.up = nn.ModuleList(Block(2 * own, above) for own, above in itertools.pairwise(ways))
        self.last = nn.Linear(2 * widths[0], action_size)
        self.register_buffer("frequencies", torch.empty(PART // 2))
        self._begin(frequency, generator)

    @torch.no_grad()
    def _begin(self, frequency: float, generator: torch.Generator) -> None:
        """Uniform weights that keep the variance of what they see, and nearly no noise at first.

        PyTorch's own are smaller by ``sqrt(3)``: blocks are then almost linear in the actions, and
        three times as many updates go by before two strategies can be distinguished.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=generator).mul_(math.sqrt(3))
                layer.bias.uniform_(-bound, bound, generator=generator)
        self.last.weight.mul_(0.1)
        self.frequencies.normal_(0, frequency, generator=generator)

    def see(self, states: Tensor) -> Tensor:
        """What states ``[..., d]`` add to the condition at every time: ``[..., c]``."""
        seen = nn.functional.silu(self.state(states))
        return nn.functional.linear(seen, self.join.weight[:, :PART], self.join.bias)

    def forward(self, actions: Tensor, time: Tensor, seen: Tensor) -> Tensor:
        """Noise ``[..., a]`` in actions ``[..., a]``.

        Args:
            actions: Noisy actions.
            time: Their times, of a shape that is broadcast to ``[..., 1]``.
            seen: What :meth:`see` gives for their states; broadcast, so that many actions share
                a state's.
        """
        angles = 2 * math.pi * time * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        timed = nn.functional.linear(waves, self.join.weight[:, PART:])
        condition = self.mix(nn.functional.silu(seen + timed))
        x, levels = actions, []
        for block in self.down:
            x = block(x, condition)
            levels.append(x)
        x = torch.cat([levels.pop(), self.middle(x, condition)], dim=-1)
        for block in self.up:
            x = torch.cat([levels.pop(), block(x, condition)], dim=-1)
        noise: Tensor = self.last(x)
        return noise

    def denoise(self, schedule: Schedule, seen: Tensor, actions: Tensor, time: float) -> Tensor:
        """The actions without their noise, inside [-1, 1] as all of the data are ``[..., a]``."""
        when = torch.full((1,), time, dtype=actions.dtype, device=actions.device)
        alpha, sigma = schedule.scales(when)
        return ((actions - sigma * self(actions, when, seen)) / alpha).clamp(-1, 1)
