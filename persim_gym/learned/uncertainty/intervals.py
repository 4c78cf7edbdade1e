"""Predictive intervals of open-loop predictions: a mean, and a multiple of what is to be expected.

An interval is the members' mean and a multiple of ``sqrt(deviation^2 + base^2)`` on both sides: of
the members' standard deviation, which grows off the data, and of what predictions of the record
leave after so many steps, noise and misfit alike. How they are measured:
:mod:`persim_gym.learned.uncertainty.calibrate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.circular import short_way
from persim_gym.learned.ensemble import Ensemble

Floats = NDArray[np.float64]

#: Levels at which quantiles are kept.
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: Share of a base that is left of the interval of a state, whatever the observations' noise.
LEAST = 0.05


@dataclass(frozen=True, slots=True)
class Intervals:
    """What intervals are made of; arrays are in the data's units.

    Attributes:
        steps: Steps ahead ``[H]``.
        base: Error that is not the members' disagreement ``[H, d]``.
        quantiles: Of errors in units of ``sqrt(deviation^2 + base^2)``, at :data:`LEVELS`
            ``[H, d, L]``.
        observed: Variances of the observations' noise ``[d]``.
        turn: Full turns of coordinates that go round, and 0 of the others ``[d]``.
        reach: Steps ahead that errors of the record were measured at, ``[]``: beyond them widths
            are extrapolated.
    """

    steps: Floats
    base: Floats
    quantiles: Floats
    observed: Floats
    turn: Floats
    reach: Floats = field(default_factory=lambda: np.array(np.inf))

    @property
    def calibrated_steps(self) -> int:
        """Steps ahead up to which widths are measured, and not extrapolated."""
        return int(min(float(self.reach), self.steps[-1]))

    def around(self, members: Floats, level: float, state: bool) -> tuple[Floats, Floats]:
        """Centres and half widths ``[n, h, d]`` of members' predictions ``[m, n, h, d]``.

        Args:
            members: The predictions.
            level: Share of what comes that should be inside.
            state: Of the state without its observation's noise.
        """
        centre, deviation = middle(members, self.turn)
        steps = np.log(np.arange(1, centre.shape[1] + 1))
        base = np.exp(along(steps, np.log(self.steps), np.log(self.base), onward=True))
        known = _at_level(np.log(self.quantiles), level)
        times = np.exp(along(steps, np.log(self.steps), known, onward=False))
        width = times * np.sqrt(np.square(deviation) + np.square(base))
        if state:
            noise = NormalDist().inv_cdf(0.5 + 0.5 * level) ** 2 * self.observed
            width = np.sqrt(np.maximum(np.square(width) - noise, np.square(LEAST * width)))
        return centre, width

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        names = ("steps", "base", "quantiles", "observed", "turn", "reach")
        return {f"intervals.{name}": torch.as_tensor(getattr(self, name)) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Intervals:
        """What :meth:`tensors` has given, by the rest of the names."""
        return cls(**{name: tensor.double().numpy() for name, tensor in tensors.items()})


def middle(members: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation ``[n, h, d]`` of members ``[m, n, h, d]``, the short way round."""
    away = short_way(members - members[:1], turn)
    return members[0] + away.mean(0), away.std(0)


def along(steps: Floats, known: Floats, values: Floats, *, onward: bool) -> Floats:
    """Values ``[H, d]`` of some logarithms of steps at others ``[h]``: ``[h, d]``.

    Beyond the last one they stay, or go on as they came, as long as they grow no faster than the
    number of steps.
    """
    found = np.stack([np.interp(steps, known, column) for column in values.T], axis=1)
    if onward and len(known) > 1:
        slope = np.clip((values[-1] - values[-2]) / (known[-1] - known[-2]), 0.0, 1.0)
        found += np.maximum(steps - known[-1], 0.0)[:, None] * slope
    return found


def students(independent: int) -> Floats:
    """How much wider intervals from so few independent errors are, at :data:`LEVELS` ``[L]``.

    Quantiles of Student's distribution over the normal one's, by Cornish and Fisher's expansion.
    """
    freedom = max(independent - 1, 2)
    z = np.array([NormalDist().inv_cdf(0.5 + 0.5 * level) for level in LEVELS])
    first = (z**2 + 1) / 4
    second = (5 * z**4 + 16 * z**2 + 3) / 96
    wider = 1 + first / freedom + second / freedom**2
    return np.asarray(wider * math.sqrt(1 + 1 / independent))


def _at_level(quantiles: Floats, level: float) -> Floats:
    """Quantiles ``[H, d]`` at a level, between and beyond those that are kept."""
    normal = NormalDist()
    at = np.array([normal.inv_cdf(0.5 + 0.5 * known) for known in LEVELS])
    wanted = normal.inv_cdf(0.5 + 0.5 * level)
    flat = quantiles.reshape(-1, len(LEVELS))
    found = np.array([np.interp(math.log(wanted), np.log(at), row) for row in flat])
    # Beyond the kept ones a normal distribution's.
    beyond = math.log(wanted / float(np.clip(wanted, at[0], at[-1])))
    return np.asarray(found.reshape(quantiles.shape[:2]) + beyond)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A fit that some of the record was kept from.

    Attributes:
        ensemble: Its members.
        rows: Transitions that it has not seen ``[k]``, ascending.
    """

    ensemble: Ensemble
    rows: NDArray[np.int64]
