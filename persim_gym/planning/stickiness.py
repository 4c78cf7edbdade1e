"""Sequences that keep to what they do for a while: steps in which something is drawn anew."""

from __future__ import annotations

import torch
from torch import Tensor

from persim_gym import checks


def check_sticky(sticky: float | tuple[float, ...]) -> None:
    """Refuse what is no probability below 1, and no tuple of them.

    Raises:
        ValueError: If it is not.
    """
    several = sticky if isinstance(sticky, tuple) else (sticky,)
    says = "in [0, 1), or a tuple of such numbers"
    for one in several or (sticky,):
        checks.number("sticky", one, 0, 1, below=True, says=says)


def shares(sticky: float | tuple[float, ...], candidates: int) -> Tensor:
    """The stickiness of each candidate ``[k]``: one after the other, in turn."""
    several = torch.tensor(sticky if isinstance(sticky, tuple) else (sticky,), dtype=torch.float32)
    return several[torch.arange(candidates) % len(several)]


def last_draws(problems: int, horizon: int, sticky: Tensor, generator: torch.Generator) -> Tensor:
    """For every step the latest one in which something was drawn anew.

    Args:
        problems: Problems ``p``.
        horizon: Steps ``h``.
        sticky: For each candidate the probability that a step draws nothing ``[k]``.
        generator: All randomness.

    Returns:
        Indices of steps ``[p, k, h]``, none later than its own; the first step always draws.
    """
    device = generator.device
    shape = (problems, len(sticky), horizon)
    stays = (
        torch.rand(shape, generator=generator, dtype=torch.float32, device=device)
        < sticky.to(device)[:, None]
    )
    steps = torch.arange(horizon, device=device)
    return torch.where(stays, 0, steps).cummax(dim=-1).values
