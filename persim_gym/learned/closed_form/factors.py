"""The agents' factors, given the weights: one of the two exact steps of the fit in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics


@dataclass(frozen=True, slots=True)
class Factors:
    """The agents' factors as ``m`` members see them.

    Attributes:
        mean: Posterior means ``[m, N, r]``; the first factor is 1.
        covariance: Posterior covariances of the others ``[m, N, r-1, r-1]``.
    """

    mean: Tensor
    covariance: Tensor

    @property
    def rank(self) -> int:
        """Rank ``r``."""
        return self.mean.shape[-1]

    def select(self, agents: Tensor) -> Factors:
        """Those of some agents ``[k]``."""
        return Factors(self.mean[:, agents], self.covariance[:, agents])


def posterior(stats: Statistics, weights: Tensor, noise: Tensor) -> Factors:
    """The agents' factors given weights: one small linear problem an agent.

    Args:
        stats: Of ``N`` agents.
        weights: ``[m, A, r, P, D]``.
        noise: ``[m, D]``.
    """
    precision, information = evidence(stats, weights, noise)
    return solve_factors(precision, information)


def evidence(stats: Statistics, weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """What transitions say of their agents' factors, without the prior; it adds up.

    Returns:
        Precision ``[m, N, r-1, r-1]`` and information ``[m, N, r-1]``.
    """
    m, a, r, p, d = weights.shape
    n = stats.num_agents
    first, second = torch.tril_indices(r, r, device=weights.device)
    pairs = len(first)
    scaled = (weights / noise.sqrt()[:, None, None, None, :]).transpose(1, 2)  # [m, r, a, P, D]
    # sum_d w_rd w_sd^T, packed as the Gram matrices are; off the diagonal both halves count.
    squares = (scaled[:, first] @ scaled[:, second].mT).view(m * pairs * a, p * p)
    below, above, twice = _packing(p, weights.device)
    kernel = squares.index_select(1, below)
    kernel.add_(squares.index_select(1, above)).mul_(twice.to(kernel.dtype))
    sums = kernel.view(m * pairs, -1) @ stats.gram.reshape(n, -1).T
    quadratic = weights.new_empty(m, n, r, r)
    quadratic[..., first, second] = quadratic[..., second, first] = sums.view(m, pairs, n).mT
    loading = (weights / noise[:, None, None, None, :]).permute(0, 2, 1, 3, 4).reshape(m * r, -1)
    linear = (loading @ stats.cross.reshape(n, -1).T).view(m, r, n).mT
    return quadratic[..., 1:, 1:], linear[..., 1:] - quadratic[..., 1:, 0]


def solve_factors(precision: Tensor, information: Tensor) -> Factors:
    """Posterior means and covariances under a standard normal prior.

    Raises:
        FloatingPointError: If the precision is not finite.
    """
    r = information.shape[-1] + 1
    one = information.new_ones((*information.shape[:-1], 1))
    if r == 1:
        return Factors(one, precision)
    total = precision + torch.eye(r - 1, dtype=precision.dtype, device=precision.device)
    root, failed = torch.linalg.cholesky_ex(total)
    if bool(failed.any()):  # rounding of large precisions: with a hundred millionth more
        size = total.diagonal(dim1=-2, dim2=-1)
        root, failed = torch.linalg.cholesky_ex(total + torch.diag_embed(1e-8 * size))
        if bool(failed.any()):
            raise FloatingPointError("the agents' factors are beyond double precision")
    covariance = torch.cholesky_inverse(root)
    mean = (covariance @ information[..., None])[..., 0]
    if not bool(torch.isfinite(mean).all()):
        raise FloatingPointError("the agents' factors are beyond double precision")
    return Factors(torch.cat([one, mean], dim=-1), covariance)


@lru_cache(maxsize=16)
def _packing(p: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where the packed entries stand in a flat square, above its diagonal, and half or one."""
    rows, columns = torch.tril_indices(p, p, device=device)
    return rows * p + columns, columns * p + rows, torch.where(rows == columns, 0.5, 1.0)
