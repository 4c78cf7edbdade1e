"""Gradient steps on random batches, in blocks that can be run one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Loss of some rows ``[b]``; what is random in it comes from the generator.
Loss = Callable[[Tensor, torch.Generator], Tensor]

#: Updates of a block.
UPDATES = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how fast to learn.

    Attributes:
        updates: Gradient steps.
        batch: Rows of each.
        rate: Adam's learning rate.
        fade: Let the rate fall to zero along a cosine.
    """

    updates: int
    batch: int
    rate: float
    fade: bool

    @property
    def blocks(self) -> int:
        """How many blocks they make."""
        return math.ceil(self.updates / UPDATES)

    def adam(self, module: nn.Module) -> torch.optim.Adam:
        """The optimiser of a module."""
        return torch.optim.Adam(module.parameters(), lr=self.rate, fused=True)

    def rate_at(self, update: int) -> float:
        """The learning rate of an update."""
        share = update / self.updates
        return 0.5 * self.rate * (1 + math.cos(math.pi * share)) if self.fade else self.rate

    def descend(
        self,
        adam: torch.optim.Adam,
        loss: Loss,
        rows: int,
        block: int,
        generator: torch.Generator,
    ) -> float:
        """One block of updates; their mean loss."""
        device, first = generator.device, block * UPDATES
        updates = min(UPDATES, self.updates - first)
        shape = (updates, min(self.batch, rows))
        total = torch.zeros((), device=device)
        batches = torch.randint(rows, shape, generator=generator, device=device)
        for update, batch in enumerate(batches, start=first):
            adam.param_groups[0]["lr"] = self.rate_at(update)
            found = loss(batch, generator)
            adam.zero_grad()
            found.backward()
            adam.step()
            total += found.detach()
        return float(total) / updates
