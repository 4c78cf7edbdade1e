"""Dropping the terms of a closed form that predictions do not need.

Terms are often nearly collinear on recorded states: speeds go along with each other, positions
with their cubes. Then several terms, each of them large, cancel out, and go separate ways further
out. So a term is judged by what its removal costs *after* the others have taken over what they
can, and the cheapest go first, some at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics
from persim_gym.learned.closed_form.alternation import LowRankFit, alternate, contributions
from persim_gym.learned.closed_form.population_sums import Sums
from persim_gym.learned.closed_form.weights import carried, unpacked, weights_from

#: Shares of the threshold: of a term by itself, before others are asked to take over, and of what
#: its removal costs after they have.
ALONE, NEEDED = 0.3, 0.3
#: Share of an equation's terms that may go before the others are fitted again.
AT_ONCE = 0.25
#: Most times that they are.
PASSES = 12


def prune(
    fit: LowRankFit,
    stats: Statistics,
    threshold: float,
    ridge: float,
    *,
    rounds: int,
) -> LowRankFit:
    """Drop what hardly moves predictions, and fit the rest again.

    Args:
        fit: A fit of one member.
        stats: What it was fitted on.
        threshold: What a term must move a change by, in units of the change's deviation.
        ridge: As in :func:`~persim_gym.learned.closed_form.alternation.regress`.
        rounds: Most rounds of each fit.
    """
    mask = contributions(fit, stats)[0] >= ALONE * threshold
    for _ in range(2):
        fit = alternate(stats, fit.factors, rounds=rounds, mask=mask, ridge=ridge)
        mask = needed(fit, stats, mask, NEEDED * threshold, ridge)
    return alternate(stats, fit.factors, rounds=rounds, mask=mask, ridge=ridge)


def needed(
    fit: LowRankFit, stats: Statistics, mask: Tensor, threshold: float, ridge: float
) -> Tensor:
    """Terms without which the error would grow by more than a threshold, factors held fixed.

    Args:
        fit: A fit of one member.
        stats: What it was fitted on.
        mask: Terms that it has ``[A, P, D]``.
        threshold: Growth of the root mean square error, in units of the change's deviation.
        ridge: As in :func:`~persim_gym.learned.closed_form.alternation.regress`.
    """
    sums = Sums.of(stats, fit.factors)
    r, p, weights = sums.rank, sums.features, fit.weights
    strong, _ = carried(sums.rows, p, r)
    for _ in range(PASSES):
        left = mask.clone()
        for action in (number for number, own in enumerate(strong) if own):
            normal = unpacked(sums, action)[0]
            for d in range(mask.shape[2]):
                kept = mask[action, :, d].nonzero()[:, 0]
                if len(kept) == 0:
                    continue
                cost = removal_costs(normal, weights[0, action, :, kept, d], kept, p, ridge)
                small = (cost < threshold**2 * sums.count[0]).nonzero()[:, 0]
                most = max(1, int(AT_ONCE * len(kept)))
                left[action, kept[small[cost[small].argsort()[:most]]], d] = False
        if bool((left == mask).all()):
            break
        mask = left
        weights, _ = weights_from(sums, mask, ridge)
    return mask


def removal_costs(normal: Tensor, weights: Tensor, kept: Tensor, p: int, ridge: float) -> Tensor:
    """By how much the sum of squares grows when one feature goes and the others are fitted again.

    Args:
        normal: Normal matrix of all features ``[r P, r P]``.
        weights: Fitted weights of the features kept ``[r, K]``.
        kept: Which these are ``[K]``.
        p: Number of all features ``P``.
        ridge: Penalty in units of each feature's mean square.

    Returns:
        ``[K]``: for each feature, of all ranks at once, ``w^T (N^-1)_jj^-1 w``. Infinite where
        rounding leaves no answer: such a term stays.
    """
    r, k = weights.shape
    places = (torch.arange(r, device=kept.device)[:, None] * p + kept).flatten()
    part = normal[places][:, places]
    scale = part.diagonal().sqrt()
    scale = torch.where(scale < 1e-150, torch.ones_like(scale), scale)
    unit = part / scale[:, None] / scale
    unit.diagonal().add_(max(ridge, 1e-12))
    root, failed = torch.linalg.cholesky_ex(unit)
    if bool(failed):
        return torch.full((k,), torch.inf, dtype=weights.dtype, device=weights.device)
    inverse = torch.cholesky_inverse(root).view(r, k, r, k)
    each = torch.arange(k, device=kept.device)
    blocks = inverse[:, each, :, each]  # [K, r, r]
    loads = (weights * scale.view(r, k)).T[..., None]
    return (loads * torch.linalg.solve(blocks, loads)).sum((1, 2))
