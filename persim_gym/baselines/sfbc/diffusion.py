"""The variance-preserving diffusion and its sampler: from noise to data in a few steps.

Noise is added by ``x_t = alpha_t x_0 + sigma_t z`` with ``alpha_t^2 + sigma_t^2 = 1``. A model that
predicts ``x_0`` from ``x_t`` turns that back by an ordinary differential equation, the
probability-flow ODE, whose solution ends at samples of the data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from persim_gym import checks

#: Predicts the data from noisy points ``[..., a]`` at a time: ``[..., a]``.
Denoise = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Noise rates that grow linearly with time, from ``begin`` at 0 to ``end`` at 1.

    Attributes:
        begin: Rate at time 0.
        end: Rate at time 1.
        least: The time at which sampling ends and below which nothing is learned.
    """

    begin: float = 0.1
    end: float = 20.0
    least: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        checks.number("begin", self.begin, 0, above=True, says="positive")
        checks.number("least", self.least, 0, 1, above=True, below=True, says="in (0, 1)")
        checks.number("end", self.end, self.begin, above=True, says="larger than begin")

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """``alpha`` and ``sigma`` at some times, each of the shape of ``time``."""
        log_alpha = -0.25 * (self.end - self.begin) * time.square() - 0.5 * self.begin * time
        # expm1: near time 0 the difference of two almost equal numbers would be rounding.
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def half_log_snr(self, time: float) -> float:
        """``log(alpha / sigma)``: falls from infinity at time 0."""
        alpha, sigma = self.scales(torch.tensor(time, dtype=torch.float64))
        return float((alpha / sigma).log())

    def time_of(self, half_log_snr: float) -> float:
        """The time at which ``log(alpha / sigma)`` has a value: the inverse of the above."""
        # -log(alpha), from sigma^2 = 1 - alpha^2; then a quadratic equation for the time.
        twice = -2 * half_log_snr
        decay = 0.5 * (max(twice, 0.0) + math.log1p(math.exp(-abs(twice))))
        half = 0.5 * self.begin
        return 2 * decay / (half + math.sqrt(half * half + (self.end - self.begin) * decay))


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of the sampler: ``x = keep x + new (prediction + correct (prediction - last))``."""

    time: float
    keep: float
    new: float
    correct: float


@functools.lru_cache(maxsize=64)
def _plan(schedule: Schedule, steps: int) -> tuple[_Step, ...]:
    """The coefficients of all steps, evenly spaced in ``log(alpha / sigma)``."""
    first, last = schedule.half_log_snr(1.0), schedule.half_log_snr(schedule.least)
    width = (last - first) / steps
    found = []
    for step in range(steps):
        here, there = (schedule.time_of(first + i * width) for i in (step, step + 1))
        ends = torch.tensor([here, there], dtype=torch.float64)
        alpha, sigma = schedule.scales(ends)
        # The first step has no earlier prediction and is of first order; one such step in all does
        # not change the order of the whole.
        correct = 0.5 if step else 0.0
        new = -float(alpha[1]) * math.expm1(-width)
        found.append(_Step(here, float(sigma[1] / sigma[0]), new, correct))
    return tuple(found)


def solve(denoise: Denoise, noise: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Follow the probability-flow ODE from noise to data.

    DPM-Solver++(2M) of Lu et al. (2022): second order, with one prediction a step. The linear part
    of the equation is solved exactly; of the prediction the change since the last step is taken
    into account.

    Args:
        denoise: Predicts the data.
        noise: Standard normal ``[..., a]``.
        schedule: The noise.
        steps: Number of steps, and of predictions.

    Returns:
        Points ``[..., a]`` at time ``schedule.least``.
    """
    checks.positive_integer("steps", steps)
    points, last = noise, None
    for step in _plan(schedule, steps):
        found = denoise(points, step.time)
        ahead = found if last is None else torch.lerp(found, last, -step.correct)
        points = torch.add(step.keep * points, ahead, alpha=step.new)
        last = found
    return points
