"""The low-rank model fitted in closed form: alternating least squares over a population.

The change of state is ``sum_r v_r(agent) * phi(state) . W[action, r]`` with ``v_1 = 1``, linear in
the agents' factors ``v`` and in the weights ``W``. Two exact steps alternate:

* *factors*: given the weights, an agent's factor has a Gaussian posterior, from its transitions
  and a standard normal prior over the population: a small linear problem an agent, all in one
  batch;
* *weights*: given the factors' posteriors, the weights are a ridge regression, and the noise of
  each coordinate is what is left.

This is expectation maximisation for a factor regression. Two things in it are decisive for agents
with few transitions: the prior, and that each coordinate counts by its own precision. Paper: the
factors there are free parameters without a prior, and all coordinates count alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics
from persim_gym.learned.closed_form.factors import Factors, posterior
from persim_gym.learned.closed_form.weights import regress


@dataclass(frozen=True, slots=True)
class LowRankFit:
    """A fitted model.

    Attributes:
        weights: ``[m, A, r, P, D]``.
        factors: The agents' factors.
        noise: Variance of what is left, of each coordinate ``[m, D]``.
        rounds: Rounds that it took.
    """

    weights: Tensor
    factors: Factors
    noise: Tensor
    rounds: int

    @property
    def rank(self) -> int:
        """Rank ``r``."""
        return self.factors.rank


def gauge(fit: LowRankFit, importance: Tensor | None = None) -> LowRankFit:
    """The same model with factors of mean 0 and covariance 1 over the population.

    The prior is standard normal: this makes it the population's own. What changes in the factors
    is undone in the weights.
    """
    mean, covariance = fit.factors.mean[..., 1:], fit.factors.covariance
    if mean.shape[-1] == 0:
        return fit
    share = torch.ones_like(mean[..., 0]) if importance is None else importance
    share = (share / share.sum(1, keepdim=True))[..., None]
    centre = (share * mean).sum(1)
    centred = mean - centre[:, None]
    overall = (share * centred).mT @ centred + (share[..., None] * covariance).sum(1)
    weights, root = regauged(fit.weights, centre, overall)
    if root is None:
        return fit
    m, n, r = centred.shape
    inverse = torch.linalg.inv(root)
    whitened = centred @ inverse.mT
    # Twice the same product with all agents' rows as one matrix: covariances are symmetric.
    half = (covariance.reshape(m, n * r, r) @ inverse.mT).view(m, n, r, r).mT
    turned = (half.reshape(m, n * r, r) @ inverse.mT).view(m, n, r, r)
    factors = Factors(torch.cat([fit.factors.mean[..., :1], whitened], dim=-1), turned)
    return replace(fit, weights=weights, factors=factors)


def regauged(weights: Tensor, centre: Tensor, overall: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights for factors that are shifted and scaled to mean 0 and covariance 1.

    Args:
        weights: ``[m, A, r, P, D]``.
        centre: The factors' mean ``[m, r-1]``.
        overall: Their covariance ``[m, r-1, r-1]``.

    Returns:
        The weights, and a root of the covariance; without one the weights are as they were.
    """
    if centre.shape[1] == 0:
        return weights, None
    size = overall.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]
    root, failed = torch.linalg.cholesky_ex(
        overall + torch.diag_embed(1e-12 * size.expand_as(centre))
    )
    if bool(failed.any()):
        return weights, None
    m, a, r, p, d = weights.shape
    changed = weights.clone()
    free = weights[:, :, 1:].flatten(3)
    changed[:, :, 0] += (centre[:, None, None] @ free).view(m, a, p, d)
    changed[:, :, 1:] = (root.mT[:, None] @ free).view(m, a, r - 1, p, d)
    return changed, root


def first_factors(
    members: int, num_agents: int, rank: int, generator: torch.Generator, like: Tensor
) -> Factors:
    """Small random factors to begin with, the first of them 1."""
    drawn = 0.1 * torch.randn(
        members, num_agents, rank - 1, generator=generator, dtype=like.dtype
    ).to(like.device)
    one = torch.ones(members, num_agents, 1, dtype=like.dtype, device=like.device)
    covariance = torch.zeros(
        members, num_agents, rank - 1, rank - 1, dtype=like.dtype, device=like.device
    )
    return Factors(torch.cat([one, drawn], dim=-1), covariance)


#: Fall of the logarithm of the noise in five rounds, on average over the coordinates, below which
#: alternating stops.
TOLERANCE = 1e-3


def alternate(
    stats: Statistics,
    factors: Factors,
    *,
    rounds: int = 200,
    mask: Tensor | None = None,
    ridge: float = 1e-10,
    importance: Tensor | None = None,
) -> LowRankFit:
    """Alternate factors and weights until the noise no longer falls.

    Args:
        stats: Of ``N`` agents.
        factors: Where to begin.
        rounds: At most.
        mask: As in :func:`regress`.
        ridge: As in :func:`regress`.
        importance: As in :func:`regress`.

    Raises:
        FloatingPointError: If the features are collinear beyond repair.
    """
    last = math.inf
    done = 0
    while True:
        weights, noise = regress(stats, factors, mask, ridge, importance)
        done += 1
        if factors.rank == 1:
            return LowRankFit(weights, factors, noise, done)
        factors = posterior(stats, weights, noise)
        fit = gauge(LowRankFit(weights, factors, noise, done), importance)
        factors = fit.factors
        if done >= rounds:
            return fit
        if done % 5 == 0:
            level = float(noise.log().mean())
            if last - level < TOLERANCE:
                return fit
            last = level


def widened(factors: Factors, rank: int, generator: torch.Generator) -> Factors:
    """Factors of another rank to go on from: cut, or with small random ones added."""
    m, n, r = factors.mean.shape
    if rank <= r:
        keep = rank - 1
        return Factors(factors.mean[..., :rank], factors.covariance[..., :keep, :keep])
    fresh = first_factors(m, n, rank - r + 1, generator, factors.mean).mean[..., 1:]
    covariance = factors.covariance.new_zeros(m, n, rank - 1, rank - 1)
    covariance[..., : r - 1, : r - 1] = factors.covariance
    return Factors(torch.cat([factors.mean, fresh], dim=-1), covariance)


def principal(fit: LowRankFit, stats: Statistics) -> LowRankFit:
    """The same model with factors ordered by how much they move predictions.

    A rotation leaves the standard normal prior as it is; this one makes the first factor the
    direction in which agents differ most.
    """
    if fit.rank < 3:
        return fit
    size = (gram_diagonal(stats).sum(0) / stats.count.sum()).sqrt()[None, :, None, :, None]
    loading = (fit.weights / fit.noise.sqrt()[:, None, None, None, :] * size)[:, :, 1:]
    m, _, r = loading.shape[:3]
    flat = loading.transpose(1, 2).reshape(m, r, -1)
    _, turn = torch.linalg.eigh(flat @ flat.mT)
    turn = turn.flip(-1)
    weights = fit.weights.clone()
    weights[:, :, 1:] = torch.einsum("mrs,marpd->maspd", turn, fit.weights[:, :, 1:])
    mean = fit.factors.mean.clone()
    mean[..., 1:] = torch.einsum("mrs,mnr->mns", turn, fit.factors.mean[..., 1:])
    covariance = turn.mT[:, None] @ fit.factors.covariance @ turn[:, None]
    return replace(fit, weights=weights, factors=Factors(mean, covariance))


def contributions(fit: LowRankFit, stats: Statistics) -> Tensor:
    """How much each feature moves predictions, ``[m, A, P, D]``.

    The norm over ranks of its weights, which for white factors is over agents, times the root of
    its mean square, in units of a change's deviation.
    """
    size = (gram_diagonal(stats).sum(0) / stats.count.sum()).sqrt()
    return fit.weights.square().sum(2).sqrt() * size[None, :, :, None]


def gram_diagonal(stats: Statistics) -> Tensor:
    """Sums of squares of the features ``[N, A, P]``."""
    places = torch.arange(stats.features, device=stats.gram.device)
    return stats.gram[:, :, places * (places + 3) // 2]
