"""Do the latent factors know the hidden covariates? A probe that was never part of the fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.posterior.covariate_map import KernelRidge
from persim_gym.threads import few_threads

# Kernel widths in units of the median distance, and ridges in units of the kernel's diagonal.
_WIDTHS = (0.5, 1.0, 2.0, 4.0)
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True, slots=True)
class LatentProbe:
    """What can be read off the agents' latent factors.

    Attributes:
        names: Covariates' names, ``c`` of them.
        true: Their values ``[N, c]``.
        predicted: What the probe says of agents that it was not fitted on ``[N, c]``.
        r2: Share of the covariates' variance that it explains ``[c]``.
        components: The factors' two leading principal components ``[N, 2]``.
        explained: Shares of variance of these ``[2]``.
    """

    names: tuple[str, ...]
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    r2: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]

    @property
    def rank_correlation(self) -> NDArray[np.float64]:
        """Spearman's rank correlation of what the probe says and the truth ``[c]``."""
        columns = zip(self.true.T, self.predicted.T, strict=True)
        return np.array([rank_correlation(*pair) for pair in columns])

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain types."""
        return {
            "agents": len(self.true),
            "r2": dict(zip(self.names, self.r2.tolist(), strict=True)),
            "rank_correlation": dict(zip(self.names, self.rank_correlation.tolist(), strict=True)),
            "explained_by_components": [float(v) for v in self.explained],
        }


def probe_covariates(
    factors: NDArray[Any],
    covariates: NDArray[np.float64],
    names: tuple[str, ...],
    *,
    folds: int = 5,
    seed: int = 0,
) -> LatentProbe:
    """Regress hidden covariates on latent factors, by kernel ridge regression with held-out agents.

    Each fold's agents are predicted by a probe that is fitted on the others; its width and ridge
    are chosen on the others alone (by their leave-one-out error).

    Args:
        factors: Latent factors of all members ``[m, N, r]``.
        covariates: ``[N, c]``, hidden from the fit that made the factors.
        names: Names of the ``c`` covariates.
        folds: Folds of the cross-validation.
        seed: Seed of the folds.

    Raises:
        ValueError: If shapes do not fit, or there are too few agents.
    """
    n = factors.shape[1]
    if covariates.shape != (n, len(names)):
        raise ValueError(
            f"covariates of {n} agents must have shape {(n, len(names))}, got {covariates.shape}"
        )
    if n < 2 * folds:
        raise ValueError(f"{folds} folds need at least {2 * folds} agents, got {n}")
    y = torch.as_tensor(np.array(covariates, dtype=np.float64))
    # A few hundred agents are small work, for which threads that wait for each other cost more
    # than they bring.
    with few_threads(0, (), y.device):
        x = _standardised(factors)
        components, explained = _leading(x)
        squared = torch.cdist(x, x).square()
        order = np.random.default_rng(seed).permutation(n)
        guesses = torch.empty_like(y)
        for held in np.array_split(order, folds):
            others = torch.as_tensor(np.setdiff1d(order, held))
            asked = torch.as_tensor(held)
            probe = KernelRidge.fitted(squared[others][:, others], y[others], _WIDTHS, _RIDGES)
            guesses[asked] = probe(squared[asked][:, others])
    predicted = guesses.numpy()
    residual = np.square(predicted - covariates).sum(axis=0)
    total = np.square(covariates - covariates.mean(axis=0)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(total > 0, 1 - residual / total, math.nan)
    return LatentProbe(names, y.numpy(), predicted, r2, components, explained)


def principal_components(
    factors: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two leading principal components of the agents' latent factors.

    Args:
        factors: Of all members ``[m, N, r]``.

    Returns:
        Components ``[N, 2]`` of the standardised factors and their shares of the variance ``[2]``;
        fewer than two where there are fewer agents or factors.
    """
    with few_threads(0, (), torch.device("cpu")):
        return _leading(_standardised(factors))


def _standardised(factors: NDArray[Any]) -> Tensor:
    """The factors of all members side by side ``[N, m * r]``, each of mean 0 and deviation 1."""
    x = torch.as_tensor(factors.astype(np.float64).transpose(1, 0, 2).reshape(factors.shape[1], -1))
    scale = x.std(dim=0, correction=0)
    return (x - x.mean(dim=0)) / torch.where(scale > 1e-12, scale, 1.0)


def _leading(x: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, singular, _ = torch.linalg.svd(x, full_matrices=False)
    variance = singular.square() / singular.square().sum().clamp_min(1e-300)
    return (left[:, :2] * singular[:2]).numpy(), variance[:2].numpy()


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's rank correlation of two columns ``[n]``; ``nan`` where one is constant.

    Equal values share the mean of their ranks.
    """
    ranks = []
    for values in (one, other):
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count - 1) / 2)[place])
    centred = [rank - rank.mean() for rank in ranks]
    size = math.sqrt(float(np.prod([np.square(rank).sum() for rank in centred])))
    return float(centred[0] @ centred[1] / size) if size > 0 else math.nan
