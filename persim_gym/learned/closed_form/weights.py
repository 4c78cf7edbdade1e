"""The weights, given the agents' factors: the other exact step of the fit in closed form."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics, packed_size
from persim_gym.learned.closed_form.factors import Factors
from persim_gym.learned.closed_form.population_sums import Sums

#: Least noise of a coordinate, in units of its change's deviation: what rounding to single
#: precision leaves of a noise-free record.
NOISE_FLOOR = 1e-6
#: Transitions for each weight of one coordinate that make a fit of an action's own trustworthy.
ROWS_PER_WEIGHT = 3.0


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
