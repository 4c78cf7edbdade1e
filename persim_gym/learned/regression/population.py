"""A population's Gaussian prior over the agents' regression coefficients, by empirical Bayes.

Of every coordinate ``c``, an agent's change is ``phi . beta`` plus noise, with
``beta ~ N(mean, covariance)`` over the population. Expectation maximisation finds the population's
mean and covariance and the noise: an agent's coefficients have a Gaussian posterior given these,
and these are moments of the posteriors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Least noise of a coordinate, in units of its change's deviation.
NOISE_FLOOR = 1e-6
#: Stop when the logarithm of the noise falls by less, on average over the coordinates, in a round.
TOLERANCE = 2e-3
#: Entries of the agents' matrices that are in memory at once.
AT_ONCE = 20_000_000
#: Entries of matrices that a processor's cache holds.
CACHED = 250_000
#: Transitions of each agent, over terms, up to which matrices of their size are the cheaper ones.
THIN = 0.7


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over each agent's transitions.

    Attributes:
        gram: ``phi phi^T`` ``[N, P, P]``.
        cross: ``phi y^T`` ``[N, c, P]``.
        square: ``y^2`` ``[N, c]``.
        count: Transitions, or their weights ``[N]``.
        longest: Most transitions of an agent.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    count: Tensor
    longest: int

    def first(self, terms: int) -> Moments:
        """Of the first terms alone."""
        return replace(self, gram=self.gram[:, :terms, :terms], cross=self.cross[..., :terms])


@dataclass(frozen=True, slots=True)
class Population:
    """The prior.

    Attributes:
        mean: ``[c, P]``.
        covariance: ``[c, P, P]``.
        noise: Variance of what is left ``[c]``.
    """

    mean: Tensor
    covariance: Tensor
    noise: Tensor

    def widened(self, terms: int) -> Population:
        """With more terms, which may explain half of what is left."""
        c, p = self.mean.shape
        more = terms - p
        if more <= 0:
            return self
        mean = torch.cat([self.mean, self.mean.new_zeros(c, more)], 1)
        covariance = self.covariance.new_zeros(c, terms, terms)
        covariance[:, :p, :p] = self.covariance
        fresh = (0.5 * self.noise / more)[:, None].expand(c, more)
        covariance[:, p:, p:] = torch.diag_embed(fresh)
        return Population(mean, covariance, self.noise)


def moments(
    phi: Tensor, target: Tensor, agent: Tensor, num_agents: int, weight: Tensor | None = None
) -> Moments:
    """Sum over transitions, which may stand in any order.

    Args:
        phi: ``[T, P]``.
        target: ``[T, c]``.
        agent: ``[T]``.
        num_agents: ``N``.
        weight: Of each transition ``[T]``; all alike by default.
    """
    order = torch.argsort(agent, stable=True)
    count = torch.bincount(agent, minlength=num_agents)
    ends = count.cumsum(0)
    longest = max(1, int(count.max()))
    p, c = phi.shape[1], target.shape[1]
    gram, cross = phi.new_empty(num_agents, p, p), phi.new_empty(num_agents, c, p)
    square = phi.new_empty(num_agents, c)
    total = phi.new_empty(num_agents)
    most = max(1, AT_ONCE // (longest * (p + c)))
    steps = torch.arange(longest, device=phi.device)
    for first in range(0, num_agents, most):
        part = slice(first, min(first + most, num_agents))
        real = steps < count[part, None]
        places = (ends[part] - count[part])[:, None] + steps
        rows = order[torch.where(real, places, torch.zeros_like(places)).clamp_max(len(order) - 1)]
        w = real.to(phi.dtype) if weight is None else real * weight[rows]
        own, y = phi[rows], target[rows]
        scaled = own * w[..., None]
        gram[part] = scaled.mT @ own
        cross[part] = y.mT @ scaled
        square[part] = (y.square() * w[..., None]).sum(1)
        total[part] = w.sum(1)
    return Moments(gram, cross, square, total, longest)


def means(stats: Moments, prior: Population) -> Tensor:
    """Mean coefficients given the population ``[c, N, P]``.

    Raises:
        FloatingPointError: If the sums are not finite.
    """
    return _means(_agents(stats), prior, covariance_root(prior.covariance))[0]


def posterior(stats: Moments, prior: Population, coordinate: int) -> tuple[Tensor, Tensor]:
    """Coefficients of one coordinate given the population.

    Returns:
        Means ``[N, P]``, and ``S`` ``[N, P, P]`` of the covariances ``S^T S``.

    Raises:
        FloatingPointError: If the sums are not finite.
    """
    mean, noise = prior.mean[coordinate], prior.noise[coordinate]
    root = covariance_root(prior.covariance[coordinate, None])[0]
    # In units of the prior: the precision is 1 + R^T G R / noise, which is far from singular.
    total = (root.mT / noise) @ (stats.gram @ root)
    total.diagonal(dim1=-2, dim2=-1).add_(1.0)
    lower = _lower(total)
    left = stats.cross[:, coordinate] - stats.gram @ mean
    solved = torch.cholesky_solve(((left / noise) @ root)[..., None], lower)[..., 0]
    half = torch.linalg.solve_triangular(lower, root.mT.expand_as(lower), upper=False)
    return mean + solved @ root.mT, half


def estimate(stats: Moments, start: Population, *, rounds: int = 60) -> Population:
    """The population that the data make likely.

    The covariance is not shrunk, not even of thirty agents: what no agent shows stays as wide as
    it was begun. Leaning on its diagonal, or on few directions and a diagonal, was worse or alike
    wherever it was tried, and worst where agents have few transitions and need the correlations.

    Raises:
        FloatingPointError: If the sums are not finite, or a posterior cannot be computed.
    """
    prior, last = start, math.inf
    agents = _agents(stats)
    for _ in range(rounds):
        prior = _round(stats, agents, prior)
        level = float(prior.noise.log().mean())
        if abs(last - level) < TOLERANCE:
            break
        last = level
    return prior


def pooled(stats: Moments) -> Population:
    """Where to begin: one regression for all agents, of whose remainder half is personal."""
    gram, cross = stats.gram.sum(0), stats.cross.sum(0)
    p, count = len(gram), stats.count.sum()
    ridge = 1e-9 * gram.diagonal().mean() + 1e-12
    gram = gram + ridge * torch.eye(p, dtype=gram.dtype, device=gram.device)
    mean = torch.linalg.solve(gram, cross.mT).mT
    left = _squares(stats, mean[:, None].expand(-1, len(stats.count), -1)).sum(1) / count
    noise = left.clamp_min(NOISE_FLOOR**2)
    scale = (0.5 * noise / p)[:, None].expand(-1, p)
    return Population(mean, torch.diag_embed(scale), 0.5 * noise)


def _round(stats: Moments, agents: _Full | _Few, prior: Population) -> Population:
    n, terms = len(stats.count), prior.mean.shape[1]
    root = covariance_root(prior.covariance)
    mean, known = _means(agents, prior, root)
    eye = torch.eye(terms, dtype=known.dtype, device=known.device)
    centre = mean.mean(1)
    apart = mean - centre[:, None]
    second = (apart.mT @ apart + root @ (n * eye - known) @ root.mT) / n
    # What the coefficients' doubt adds, tr(G C).
    doubt = prior.noise * known.diagonal(dim1=-2, dim2=-1).sum(-1)
    left = _squares(stats, mean).sum(1) + doubt.clamp_min(0.0)
    noise = (left / stats.count.sum().clamp_min(1.0)).clamp_min(NOISE_FLOOR**2)
    return Population(centre, second, noise)


def _means(agents: _Full | _Few, prior: Population, root: Tensor) -> tuple[Tensor, Tensor]:
    """Mean coefficients ``[c, N, P]``, and how far agents are known ``[c, P, P]``."""
    mean, known = [], []
    for k, own in enumerate(root):  # one after the other: matrices of all agents are large enough
        noise = prior.noise[k].sqrt()
        away, sure = agents.solved(k, own / noise, prior.mean[k], noise)
        mean.append(torch.addmm(prior.mean[k], away, own.mT))
        known.append(sure)
    return torch.stack(mean), torch.stack(known)


def _agents(stats: Moments) -> _Full | _Few:
    if not all(bool(torch.isfinite(p).all()) for p in (stats.gram, stats.cross, stats.square)):
        raise FloatingPointError("the agents' transitions are beyond double precision")
    few = stats.longest <= THIN * stats.gram.shape[1]
    return _Few.of(stats) if few else _Full(stats)


class _Full:
    """Agents by their Gram matrices.

    Args:
        stats: Sums over their transitions.
    """

    def __init__(self, stats: Moments) -> None:
        self.cross, self.gram = stats.cross, stats.gram.contiguous()

    def solved(self, k: int, root: Tensor, mean: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """How far agents are from a population in one coordinate, and how far they are known.

        With ``A = R^T G R`` of an agent, in units of the prior, its precision is ``1 + A``, which
        is far from singular.

        Args:
            k: The coordinate.
            root: Root of the population's covariance over the noise's deviation, ``R`` ``[P, P]``.
            mean: The population's mean ``[P]``.
            noise: Deviation of the noise.

        Returns:
            ``(1 + A)^-1 R^T (F^T y - G mean)`` in units of the noise ``[N, P]``, and the sum of
            ``A (1 + A)^-1`` over agents ``[P, P]``.

        Raises:
            FloatingPointError: If a posterior cannot be computed.
        """
        n, p, _ = self.gram.shape
        away = self.gram.new_empty(n, p)
        known = n * torch.eye(p, dtype=away.dtype, device=away.device)
        most = max(1, CACHED // p**2)
        for gram, cross, out in zip(
            self.gram.split(most), self.cross[:, k].split(most), away.split(most), strict=True
        ):
            half = (gram.view(-1, p) @ root).view(-1, p, p)
            total = root.mT.expand(len(gram), p, p) @ half
            total.diagonal(dim1=-2, dim2=-1).add_(1.0)
            inverse = torch.cholesky_inverse(_lower(total))
            known -= inverse.sum(0)
            left = cross - gram @ mean
            torch.bmm(((left / noise) @ root)[:, None], inverse, out=out[:, None])
        return away, known


@dataclass(frozen=True, slots=True)
class _Few:
    """Agents with fewer transitions than terms, by roots of their Gram matrices.

    Attributes:
        roots: ``F`` with ``F^T F`` the Gram matrix ``[N, T, P]``.
        turned: ``y`` with ``F^T y`` the agent's sums with changes ``[c, N, T]``.
    """

    roots: Tensor
    turned: Tensor

    @classmethod
    def of(cls, stats: Moments) -> _Few:
        """From sums over their transitions."""
        values, vectors = torch.linalg.eigh(stats.gram)
        values, vectors = values[:, -stats.longest :].clamp_min(0.0), vectors[..., -stats.longest :]
        size = values.sqrt()
        turned = (stats.cross @ vectors) / size.clamp_min(1e-150)[:, None]
        turned = torch.where(size[:, None] > 0, turned, 0.0)
        return cls((vectors * size[:, None]).mT.contiguous(), turned.transpose(0, 1).contiguous())

    def solved(self, k: int, root: Tensor, mean: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """As of :class:`_Full`: with ``X = F R``, ``(1 + X^T X)^-1 X^T = X^T (1 + X X^T)^-1``."""
        n, _, p = self.roots.shape
        away = self.roots.new_empty(n, p)
        known = torch.zeros_like(root)
        most = max(1, CACHED // p**2)
        for roots, turned, out in zip(
            self.roots.split(most), self.turned[k].split(most), away.split(most), strict=True
        ):
            rows = (roots.view(-1, p) @ root).view(roots.shape)
            total = rows @ rows.mT
            total.diagonal(dim1=-2, dim2=-1).add_(1.0)
            inverse = torch.cholesky_inverse(_lower(total))
            left = (turned - roots @ mean) / noise
            torch.bmm((inverse @ left[..., None]).mT, rows, out=out[:, None])
            known.addmm_(rows.view(-1, p).mT, (inverse @ rows).view(-1, p))
        return away, known


def _lower(total: Tensor) -> Tensor:
    """Lower triangular roots of matrices ``[N, k, k]``."""
    lower, failed = torch.linalg.cholesky_ex(total)
    if bool(failed.any()):
        raise FloatingPointError("the agents' coefficients are beyond double precision")
    return lower


def _squares(stats: Moments, beta: Tensor) -> Tensor:
    """Sums of squares that coefficients ``[c, N, P]`` leave ``[c, N]``."""
    cross = (stats.cross.transpose(0, 1) * beta).sum(-1)
    curved = ((beta.transpose(0, 1) @ stats.gram).transpose(0, 1) * beta).sum(-1)
    return (stats.square.mT - 2 * cross + curved).clamp_min(0.0)


def covariance_root(covariance: Tensor) -> Tensor:
    """A root ``[c, P, P]`` of covariances that may be nearly singular."""
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
    return vectors * values.clamp_min(0.0).sqrt()[..., None, :]
