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
from functools import lru_cache

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics, packed_size
from persim_gym.learned.closed_form.population_sums import Sums

#: Least noise of a coordinate, in units of its change's deviation: what rounding to single
#: precision leaves of a noise-free record.
NOISE_FLOOR = 1e-6
#: Transitions for each weight of one coordinate that make a fit of an action's own trustworthy.
ROWS_PER_WEIGHT = 3.0


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


def regress(
    stats: Statistics,
    factors: Factors,
    mask: Tensor | None = None,
    ridge: float = 1e-10,
    importance: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights and noise given the factors' posteriors.

    Args:
        stats: Of ``N`` agents.
        factors: Theirs.
        mask: Features that a coordinate may use under an action ``[A, P, D]``; all by default.
        ridge: Penalty in units of each feature's mean square.
        importance: Weight of each agent ``[m, N]``, for resampling.

    Returns:
        Weights ``[m, A, r, P, D]`` and noise variances ``[m, D]``.
    """
    return weights_from(Sums.of(stats, factors, importance), mask, ridge)


def weights_from(
    sums: Sums, mask: Tensor | None = None, ridge: float = 1e-10
) -> tuple[Tensor, Tensor]:
    """Weights and noise from sums over agents; arguments and results of :func:`regress`."""
    a, m, _, d = sums.cross.shape
    r, p, device = sums.rank, sums.features, sums.cross.device
    weights = sums.cross.new_zeros(m, a, r, p, d)
    left = sums.square
    strong, allowed = carried(sums.rows, p, r)
    shared = weights.new_zeros(m, r, p, d)
    for action in sorted(range(a), key=lambda number: not strong[number]):
        normal = unpacked(sums, action)
        right = sums.cross[action]
        own = None if mask is None else mask[action]
        if strong[action]:
            found = _ridge(normal, right, own, ridge, r)
            shared += found.view(m, r, p, d) / sum(strong)
        else:
            few = (torch.arange(p, device=device) < allowed[action])[:, None].expand(p, d)
            base = shared.view(m, r * p, d)
            found = base + _ridge(
                normal, right - normal @ base, few if own is None else few & own, ridge, r
            )
        weights[:, action] = found.view(m, r, p, d)
        left = left - 2 * (found * right).sum(1) + (found * (normal @ found)).sum(1)
    noise = left / sums.count[:, None].clamp_min(1.0)
    if not bool(torch.isfinite(noise).all()):
        raise FloatingPointError("sums over the data are beyond double precision")
    return weights, noise.clamp_min(NOISE_FLOOR**2)


def unpacked(sums: Sums, action: int) -> Tensor:
    """The normal matrix of the weights under an action ``[m, r P, r P]``."""
    size = sums.rank * sums.features
    places = _unpacking(sums.rank, sums.features, sums.gram.device)
    return sums.gram[action].index_select(1, places).view(-1, size, size)


def carried(rows: Tensor, features: int, rank: int) -> tuple[list[bool], list[int]]:
    """Which actions have data enough for weights of their own, and how many the others carry.

    An action that was taken rarely, or never, is taken for the mean of the others, and differs
    from it in as few of the first features as its transitions carry.

    Args:
        rows: Transitions under each action ``[A]``.
        features: Number of features ``P``.
        rank: Rank.

    Returns:
        For each action whether it has enough, and the number of features.
    """
    allowed = (rows / (ROWS_PER_WEIGHT * rank)).long().clamp(max=features)
    enough = (allowed == features) | (rows >= 0.5 * rows.max())
    return enough.tolist(), allowed.tolist()


@lru_cache(maxsize=16)
def _packing(p: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where the packed entries stand in a flat square, above its diagonal, and half or one."""
    rows, columns = torch.tril_indices(p, p, device=device)
    return rows * p + columns, columns * p + rows, torch.where(rows == columns, 0.5, 1.0)


@lru_cache(maxsize=16)
def _unpacking(r: int, p: int, device: torch.device) -> Tensor:
    """Where a matrix ``[r p, r p]`` finds its entries among pairs of ranks, packed features."""

    def place(size: int) -> Tensor:
        index = torch.arange(size, device=device)
        high = torch.maximum(index[:, None], index)
        return high * (high + 1) // 2 + torch.minimum(index[:, None], index)

    whole = place(r)[:, None, :, None] * packed_size(p) + place(p)[None, :, None, :]
    return whole.reshape(-1)


def _ridge(normal: Tensor, right: Tensor, mask: Tensor | None, ridge: float, r: int) -> Tensor:
    """Ridge regressions ``[m, r P, D]`` that share their normal matrix, on features allowed."""
    scale = normal.diagonal(dim1=-2, dim2=-1).sqrt()
    # A feature that never occurs keeps weight zero; its row is made harmless.
    dead = scale < 1e-150
    scale = torch.where(dead, torch.ones_like(scale), scale)
    unit = normal / scale[:, :, None] / scale[:, None, :]
    # In single precision whatever torch's default is, so that equal fits stay equal files.
    loaded = torch.full_like(scale, 1.0 + ridge, dtype=torch.float32).masked_fill(dead, 1.0)
    unit.diagonal(dim1=-2, dim2=-1).copy_(loaded)
    target = right / scale[..., None]
    if mask is None or bool(mask.all()):
        return _solve(unit, target) / scale[..., None]
    solution = torch.zeros_like(target)
    patterns, which = torch.unique(mask.T, dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        kept = pattern.repeat(r).nonzero()[:, 0]
        columns = (which == number).nonzero()[:, 0]
        if len(kept):
            part = _solve(unit[:, kept][:, :, kept], target[:, kept][:, :, columns])
            solution[:, kept[:, None], columns] = part
    return solution / scale[..., None]


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric positive systems; where rounding has made one indefinite, with more ridge."""
    ridge = 0.0
    for _ in range(8):
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not bool(failed.any()):
            return torch.cholesky_solve(right, factor)
        ridge = max(1e-9, 10 * ridge)
        matrix = matrix.clone()
        matrix.diagonal(dim1=-2, dim2=-1).add_(ridge)
    raise FloatingPointError(
        "the features are collinear beyond repair: choose a lower degree or rank"
    )


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
    spread = (share * centred).mT @ centred + (share[..., None] * covariance).sum(1)
    weights, root = regauged(fit.weights, centre, spread)
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


def regauged(weights: Tensor, centre: Tensor, spread: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights for factors that are shifted and scaled to mean 0 and covariance 1.

    Args:
        weights: ``[m, A, r, P, D]``.
        centre: The factors' mean ``[m, r-1]``.
        spread: Their covariance ``[m, r-1, r-1]``.

    Returns:
        The weights, and a root of the covariance; without one the weights are as they were.
    """
    if centre.shape[1] == 0:
        return weights, None
    size = spread.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]
    root, failed = torch.linalg.cholesky_ex(
        spread + torch.diag_embed(1e-12 * size.expand_as(centre))
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


def alternate(
    stats: Statistics,
    factors: Factors,
    *,
    rounds: int = 200,
    tolerance: float = 1e-3,
    mask: Tensor | None = None,
    ridge: float = 1e-10,
    importance: Tensor | None = None,
) -> LowRankFit:
    """Alternate factors and weights until the noise no longer falls.

    Args:
        stats: Of ``N`` agents.
        factors: Where to begin.
        rounds: At most.
        tolerance: Stop when the logarithm of the noise falls by less, on average over the
            coordinates, in five rounds.
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
            if last - level < tolerance:
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
