"""What quick regressions leave, with terms taken out beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from persim_gym.learned.features.added import FINE, Added, left_of
from persim_gym.learned.features.lags import RIDGES
from persim_gym.learned.regression.population import Moments, moments


def plainly(early: Moments, late: Moments, terms: Sequence[int]) -> Tensor:
    """The same by solving for every term at once."""
    places = list(terms)
    gram, cross = early.gram[:, places][:, :, places], early.cross[..., places].mT
    eye = torch.eye(len(places), dtype=gram.dtype)
    every = gram.sum(0) + 1e-9 * early.count.sum() * eye
    common = torch.linalg.solve(every, cross.sum(0))
    seen = late.count > 0
    then, target = late.gram[seen][:, places][:, :, places], late.cross[seen][..., places].mT
    found = []
    for ridge in RIDGES:
        own = torch.linalg.solve(gram + ridge * 1e-2 * eye, cross - gram @ common)
        weights = (common + own)[seen]
        left = late.square[seen] - (weights * (2 * target - then @ weights)).sum(1)
        mean = (left / late.count[seen, None]).clamp_min(FINE**2)
        found.append(mean.log().mean(0) / 2)
    return min(found, key=lambda own: float(own.sum()))


@pytest.fixture
def sums() -> tuple[Moments, Moments]:
    """Of two parts, with an agent that neither has and one that only the first has."""
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(600, 14, generator=generator, dtype=torch.float64)
    law = torch.randn(14, 2, generator=generator, dtype=torch.float64)
    y = phi @ law + torch.randn(600, 2, generator=generator, dtype=torch.float64)
    agent = torch.arange(600) % 9
    first = (torch.arange(600) < 400) | (agent == 8)
    early, late = (moments(phi[p], y[p], agent[p], 10) for p in (first, ~first))
    return early, late


@pytest.mark.parametrize("chosen", [[], [0], [1, 4], [0, 1, 2, 3, 4, 5]])
def test_terms_taken_out_beforehand_leave_the_same(
    sums: tuple[Moments, Moments], chosen: list[int]
) -> None:
    terms, more = [0, 2, 3, 5, 7, 8, 11, 13], [1, 4, 6, 9, 10, 12]
    found = Added(*sums, terms, more).left(chosen)
    expected = plainly(*sums, [*terms, *(more[k] for k in chosen)])
    torch.testing.assert_close(found, expected)


def test_nothing_has_to_be_added(sums: tuple[Moments, Moments]) -> None:
    torch.testing.assert_close(left_of(*sums, [3, 1, 12]), plainly(*sums, [3, 1, 12]))
