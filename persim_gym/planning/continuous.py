"""What searches over continuous actions share: units, coloured noise, plans carried over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Units:
    """Actions in units of half their range, around its middle: -1 to 1 in every coordinate.

    Attributes:
        middle: Middle of the range ``[a]``.
        half: Half of its width ``[a]``.
    """

    middle: Tensor
    half: Tensor

    @classmethod
    def of(cls, space: Discrete | Box, device: torch.device, planner: str) -> Units:
        """Units of an action space.

        Raises:
            TypeError: If actions are discrete.
            ValueError: If the space has no bounds.
        """
        if isinstance(space, Discrete):
            raise TypeError(
                f"{planner} plans continuous actions; use RandomShooting for discrete ones"
            )
        low, high = bounds_of(space, device, planner)
        return cls(middle=(high + low) / 2, half=(high - low) / 2)

    def actions(self, scaled: Tensor) -> Tensor:
        """From these units ``[..., a]`` to actions."""
        return self.middle + self.half * scaled

    def scaled(self, actions: Tensor) -> Tensor:
        """From actions ``[..., a]`` to these units."""
        return (actions - self.middle) / self.half


def bounds_of(space: Box, device: torch.device, planner: str) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of actions ``[a]``, ``[a]``.

    Raises:
        ValueError: If the space has none: what is drawn between them would be no number.
    """
    if not space.is_bounded():
        raise ValueError(f"{planner} needs an action space with bounds, got {space}")
    return torch.as_tensor(space.low, device=device), torch.as_tensor(space.high, device=device)


def coloured_noise(
    shape: tuple[int, int, int, int], beta: float, generator: torch.Generator
) -> Tensor:
    """Normal noise over time whose power falls with frequency as ``1 / f**beta``.

    Every entry has mean 0 and variance 1, whatever ``beta``; sequences and coordinates are
    independent. White noise is ``beta=0``; the larger ``beta``, the slower the noise changes. It is
    drawn in Fourier space, with the power of the mean that of the lowest frequency ``1 / h``
    (Timmer and Koenig 1995; Pinneri et al. 2020, Section 3.1). Like any sum of these waves it goes
    round: the last step is as close to the first as neighbours are.

    Args:
        shape: ``p, k, h, a``.
        beta: Exponent of the spectrum.
        generator: All randomness.

    Returns:
        ``[p, k, h, a]``.
    """
    p, k, h, a = shape
    device = generator.device
    if beta == 0 or h == 1:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=device)
    frequency = torch.fft.rfftfreq(h, dtype=torch.float32, device=device)
    frequency[0] = 1 / h
    amplitude = frequency ** (-beta / 2)
    waves = torch.randn(
        (p, k, a, len(frequency), 2), generator=generator, dtype=torch.float32, device=device
    )
    # The mean and, with an even number of steps, the fastest wave have no phase.
    single = [0, -1] if h % 2 == 0 else [0]
    waves[..., single, 0] *= math.sqrt(2)
    waves[..., single, 1] = 0.0
    power = 2 * amplitude.square()
    power[single] /= 2
    amplitude = amplitude * h / power.sum().mul(2).sqrt()
    noise = torch.fft.irfft(torch.view_as_complex(waves) * amplitude, n=h)
    return noise.mT


def shifted(plans: Tensor, fresh: Tensor) -> Tensor:
    """Plans of one step ago ``[p, h, a]``, moved on by a step; nothing where an episode begins.

    The last action is taken twice.
    """
    moved = torch.cat([plans[:, 1:], plans[:, -1:]], dim=1)
    return torch.where(fresh[:, None, None], 0.0, moved)
