"""Adam on one vector of parameters, without what `torch.optim` takes a second to import."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba, 2015) on one vector of parameters: five operations a step.

    Args:
        parameters: ``[P]``, changed in place.
    """

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Tensor) -> None:
        self.parameters = parameters
        self.mean = torch.zeros_like(parameters)
        self.square = torch.zeros_like(parameters)
        self._scale = torch.empty_like(parameters)
        self.steps = 0

    def step(self, gradient: Tensor, rate: float) -> None:
        """Take one step of size ``rate`` against the gradient ``[P]``."""
        self.steps += 1
        root = math.sqrt(1 - self.BETA2**self.steps)
        self.mean.lerp_(gradient, 1 - self.BETA1)
        self.square.mul_(self.BETA2).addcmul_(gradient, gradient, value=1 - self.BETA2)
        torch.sqrt(self.square, out=self._scale).add_(self.EPSILON * root)
        self._move(-rate * root / (1 - self.BETA1**self.steps))

    def _move(self, times: float) -> None:
        """Move by so many times the mean gradient over its size."""
        self.parameters.addcdiv_(self.mean, self._scale, value=times)
