"""From covariates to factors, where covariates are known: an agent's simulator without any data.

An extension that the paper names. No fit ever needs covariates; a map is made afterwards, from the
fitted agents whose covariates are known, and says how much it can be trusted: what it leaves of the
factors' variance, by agents left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.posterior.prior import Evidence, FactorPrior, solve

#: Kernel widths that are tried, in units of the median distance, and ridges in units of the
#: kernel's diagonal.
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Agents below which no map is made, and agents that one is made of at most.
LEAST, MOST = 5, 2000
#: Least variance that a map may claim to leave, in units of the population's.
FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class KernelRidge:
    """Kernel ridge regression with Gaussian kernels; each target has a width of its own.

    Attributes:
        weights: Of the fitted rows' kernels, for each width ``[W, n, k]``.
        widths: The widths ``[W]``, of squared distances.
        mean: Mean targets ``[k]``.
        left: Mean squared error of each target, of rows left out ``[k]``.
    """

    weights: Tensor
    widths: Tensor
    mean: Tensor
    left: Tensor

    @classmethod
    def fitted(
        cls, squared: Tensor, targets: Tensor, widths: Sequence[float], ridges: Sequence[float]
    ) -> KernelRidge:
        """Fit; width and ridge of each target are those with the least leave-one-out error.

        That follows from one decomposition for all ridges.

        Args:
            squared: Squared distances of the rows ``[n, n]``.
            targets: ``[n, k]``.
            widths: Widths to try, in units of the median distance.
            ridges: Ridges to try, in units of the kernel's diagonal.
        """
        median = squared.median().clamp_min(1e-12)
        mean = targets.mean(0)
        centred = targets - mean
        least = torch.full_like(mean, torch.inf)
        weights = targets.new_zeros(len(widths), *targets.shape)
        for number, width in enumerate(widths):
            values, vectors = torch.linalg.eigh(torch.exp(-squared / (2 * width**2 * median)))
            rotated = vectors.T @ centred
            for ridge in ridges:
                inverse = 1 / (values.clamp_min(0) + ridge)
                found = vectors @ (inverse[:, None] * rotated)
                left_out = found / (vectors.square() @ inverse)[:, None]
                errors = left_out.square().mean(0)
                better = errors < least
                least = torch.where(better, errors, least)
                weights[:, :, better] = 0.0
                weights[number, :, better] = found[:, better]
        scales = 2 * torch.as_tensor(widths).to(mean).square() * median
        return cls(weights, scales, mean, least)

    def __call__(self, squared: Tensor) -> Tensor:
        """Targets ``[p, k]`` of rows with squared distances ``[p, n]`` from the fitted ones."""
        found = self.mean.expand(len(squared), -1)
        for width, weights in zip(self.widths.tolist(), self.weights, strict=True):
            found = found + torch.exp(-squared / width) @ weights
        return found


@dataclass(frozen=True, slots=True)
class CovariateMap:
    """A smooth map from covariates to factors: kernel ridge regression on the personal numbers.

    :meth:`PerSim.map_covariates` makes it.

    Attributes:
        prior: What the personal numbers mean.
        centre: Mean covariates ``[c]``.
        scale: Their standard deviations ``[c]``.
        known: Covariates of the agents that it was made of, in these units ``[N, c]``.
        regression: Of the personal numbers ``[m q]``.
        left: Variance of the personal numbers that agents left out still have ``[m, q]``; for the
            population it is 1.
    """

    prior: FactorPrior
    centre: Tensor
    scale: Tensor
    known: Tensor
    regression: KernelRidge
    left: Tensor

    @property
    def r2(self) -> NDArray[np.float64]:
        """Share of the personal numbers' variance that covariates explain ``[m, q]``."""
        return np.asarray(1.0 - self.left.cpu().numpy())

    def personal(self, covariates: Any) -> Tensor:
        """Personal numbers ``[m, n, q]`` of covariates ``[n, c]``.

        Raises:
            ValueError: If covariates have another shape, or are not finite.
        """
        x = check_covariates(covariates, len(self.centre), self.centre.device)
        squared = torch.cdist((x - self.centre) / self.scale, self.known).square()
        m, q = self.left.shape
        return self.regression(squared).view(len(x), m, q).transpose(0, 1)

    def factors(self, covariates: Any) -> NDArray[np.float64]:
        """Factors ``[m, n, r]`` of agents with covariates ``[n, c]``.

        Raises:
            ValueError: If covariates have another shape, or are not finite.
        """
        return np.asarray(self.prior.factors(self.personal(covariates)).cpu().numpy())

    def given(self, covariates: Any) -> tuple[Tensor, Tensor]:
        """What covariates say of factors: precision ``[m, n, q, q]``, information ``[m, n, q]``.

        Added to the prior's precision, which is 1, they give the map's prediction with the
        variance that it has for agents left out.
        """
        w = self.personal(covariates)
        precision = 1.0 / self.left.clamp(FLOOR, 1.0) - 1.0
        # With the prior at 0, the posterior's mean is the prediction itself.
        information = w * (precision + 1.0)[:, None]
        n = w.shape[1]
        return torch.diag_embed(precision)[:, None].expand(-1, n, -1, -1), information


def fit_map(prior: FactorPrior, evidence: Evidence, covariates: Any) -> CovariateMap:
    """A map from the agents' covariates to their posterior means.

    Args:
        prior: The population's.
        evidence: Of the agents ``[N]``.
        covariates: Theirs ``[N, c]``; rows that are nan are of agents whose covariates are not
            known.

    Raises:
        ValueError: If shapes do not fit, or there are too few agents.
    """
    values = np.array(covariates, dtype=np.float64)  # a population's own cannot be written to
    agents = evidence.precision.shape[1]
    if values.ndim != 2 or len(values) != agents or values.shape[1] == 0:
        raise ValueError(
            f"covariates must have shape ({agents}, c), a row for each agent, got {values.shape}"
        )
    used = np.isfinite(values).all(axis=1) & (evidence.count.cpu().numpy() > 0)
    if used.sum() < LEAST:
        raise ValueError(
            f"a map needs at least {LEAST} agents with transitions and known covariates, there are "
            f"{int(used.sum())}"
        )
    rows = np.flatnonzero(used)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    device = prior.mean.device
    w, _ = solve(prior, evidence.select(rows.tolist()))
    m, n, q = w.shape
    targets = w.transpose(0, 1).reshape(n, m * q)
    x = torch.as_tensor(values[rows], device=device)
    centre, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 1e-12 * x.abs().amax(0), scale, torch.ones_like(scale))
    known = (x - centre) / scale
    squared = torch.cdist(known, known).square()
    found = KernelRidge.fitted(squared, targets, WIDTHS, RIDGES)
    return CovariateMap(prior, centre, scale, known, found, found.left.view(m, q))


def check_covariates(covariates: Any, columns: int, device: torch.device) -> Tensor:
    """Covariates ``[n, c]`` in double precision.

    Raises:
        ValueError: If they have another shape, or are not finite.
    """
    values = np.array(covariates, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != columns:
        raise ValueError(f"covariates must have shape (n, {columns}), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("covariates must be finite")
    return torch.as_tensor(values, device=device)
