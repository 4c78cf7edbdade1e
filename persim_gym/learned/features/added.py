"""What quick regressions leave with some terms, and with one more of many beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from persim_gym.learned.features.lags import RIDGES
from persim_gym.learned.regression.population import Moments

#: Errors, in units of the changes, that count as none.
FINE = 1e-3
#: Ridge of what all agents share, for each transition.
SHARED = 1e-9


def left_of(early: Moments, late: Moments, terms: Sequence[int]) -> Tensor:
    """What each agent's regression, shrunk to that of all, leaves of the transitions that judge it.

    Args:
        early: Of the transitions that are fitted.
        late: Of those that judge.
        terms: Terms of the regression.

    Returns:
        Logarithm of the error of each coordinate ``[c]``, mean over agents, with the best ridge.
    """
    return Added(early, late, terms, []).left([])


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A regression with a ridge, its own terms taken out.

    Weights of added terms are of all agents ``w`` and of each of them ``u``; those of its own terms
    are linear in both.
    """

    early: tuple[Tensor, Tensor, Tensor]
    common: tuple[Tensor, Tensor]
    square: Tensor
    linear: tuple[Tensor, Tensor]
    bilinear: tuple[Tensor, Tensor, Tensor]

    def left(self, k: Sequence[int], late: Moments) -> Tensor:
        """What is left with added terms ``k``."""
        own, given, moved = self.early
        first, second = self.linear
        one, both, two = (part[:, k][:, :, k] for part in self.bilinear)
        w = torch.linalg.solve(self.common[0][k][:, k], self.common[1][k])  # [k, c]
        rhs = given[:, k] - moved[:, k][:, :, k] @ w
        u = torch.linalg.solve(own[:, k][:, :, k], rhs)[late.count > 0]
        w = w.expand(len(u), *w.shape)
        explained = 2 * (w * first[:, k] + u * second[:, k]) - w * (one @ w + 2 * both @ u)
        left = self.square - (explained - u * (two @ u)).sum(1)
        mean = left / late.count[late.count > 0, None]
        return mean.clamp_min(FINE**2).log().mean(0) / 2


class Added:
    """What is left with terms that are always there, and any of some more.

    The first are taken out once, so that each choice of the others takes next to nothing.

    Args:
        early: Of the transitions that are fitted.
        late: Of those that judge.
        terms: Terms that are always there.
        more: Others.
    """

    def __init__(
        self, early: Moments, late: Moments, terms: Sequence[int], more: Sequence[int]
    ) -> None:
        self.late = late
        places, p = [*terms, *more], len(terms)
        gram, cross = early.gram[:, places][:, :, places], early.cross[..., places].mT
        seen = late.count > 0
        then, target = late.gram[seen][:, places][:, :, places], late.cross[seen][..., places].mT
        shared = gram.sum(0)
        shared.diagonal().add_(SHARED * early.count.sum())
        solved = torch.linalg.solve(
            shared[:p, :p], torch.cat([cross[:, :p].sum(0), shared[:p, p:]], 1)
        )
        c = cross.shape[2]
        base, along = solved[:, :c], solved[:, c:]  # common weights are base - along @ w
        common = (
            shared[p:, p:] - shared[p:, :p] @ along,
            cross[:, p:].sum(0) - shared[p:, :p] @ base,
        )
        rest = cross - gram[:, :, :p] @ base  # what common weights of the terms leave ...
        turned = gram[:, :, p:] - gram[:, :, :p] @ along  # ... less this, times w
        self.reduced = []
        for ridge in RIDGES:
            own = gram.clone()
            own.diagonal(dim1=1, dim2=2).add_(ridge * 1e-2)
            parts = torch.cat([rest[:, :p], turned[:, :p], own[:, :p, p:]], 2)
            found = torch.linalg.solve(own[:, :p, :p], parts)
            given, moved, across = found.split((c, len(more), len(more)), 2)
            back = own[:, p:, :p]
            fitted = (
                own[:, p:, p:] - back @ across,
                rest[:, p:] - back @ given,
                turned[:, p:] - back @ moved,
            )
            eye = torch.eye(len(more), dtype=gram.dtype).expand(len(then), -1, -1)
            at = torch.cat([base + given[seen], given.new_zeros(len(then), len(more), c)], 1)
            by_common = torch.cat([-(along + moved[seen]), eye], 1)
            by_own = torch.cat([-across[seen], eye], 1)
            here = target - then @ at
            bilinear = (
                by_common.mT @ then @ by_common, by_common.mT @ then @ by_own,
                by_own.mT @ then @ by_own,
            )  # fmt: skip
            self.reduced.append(
                _Reduced(
                    fitted,
                    common,
                    late.square[seen] - (at * (target + here)).sum(1),
                    (by_common.mT @ here, by_own.mT @ here),
                    bilinear,
                )
            )

    def left(self, more: Sequence[int]) -> Tensor:
        """Logarithm of what is left of each coordinate ``[c]`` with some of the others, by place.

        Mean over agents, with the best ridge.
        """
        k = list(more)
        found = [own.left(k, self.late) for own in self.reduced]
        return min(found, key=lambda own: float(own.sum()))
