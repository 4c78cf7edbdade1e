from __future__ import annotations

import pytest
import torch

from persim_gym.learned.closed_form.agent_sums import Rows, Statistics, gather
from persim_gym.learned.closed_form.alternation import LowRankFit, alternate
from persim_gym.learned.closed_form.factors import Factors
from persim_gym.learned.closed_form.population_sums import Sums
from persim_gym.learned.closed_form.pruning import needed, prune, removal_costs
from persim_gym.learned.closed_form.weights import unpacked
from tests.learned.closed_form.rows import BASIS, features, some_rows


def twins(noise: float = 0.01) -> tuple[Rows, Statistics, Factors]:
    """A law of one coordinate, whose nearly equal twin tells nothing; rank 2."""
    rows = some_rows([80] * 10, choices=1, d=1, seed=1)
    generator = torch.Generator().manual_seed(0)
    inputs, n = rows.inputs, len(rows)
    extra = noise * torch.randn(n, generator=generator, dtype=torch.float64)
    inputs[:, 1] = inputs[:, 0] + extra
    share = torch.randn(10, generator=generator, dtype=torch.float64)
    rows.target[:, 0] = (1.0 + share[rows.agent]) * inputs[:, 0]
    rows.target.add_(1e-3 * torch.randn(n, 1, generator=generator, dtype=torch.float64))
    mean = torch.stack([torch.ones(10).double(), share], 1)[None]
    factors = Factors(mean, torch.zeros(1, 10, 1, 1, dtype=torch.float64))
    return rows, gather(rows, features), factors


def fitted(stats: Statistics, factors: Factors) -> LowRankFit:
    return alternate(stats, factors, rounds=20)


def kept(mask: torch.Tensor) -> set[str]:
    names = BASIS.names(("x", "twin", "other"))
    return {names[i] for i in mask[0, :, 0].nonzero()[:, 0].tolist()}


def test_costs_are_what_a_fit_without_the_term_loses() -> None:
    rows = some_rows([60] * 4, choices=1, d=1, seed=2)
    mean = torch.ones(1, 4, 2, dtype=torch.float64)
    mean[0, :, 1] = torch.tensor([0.5, -1.0, 0.3, 1.2])
    sums = Sums.of(
        gather(rows, features), Factors(mean, torch.zeros(1, 4, 1, 1, dtype=torch.float64))
    )
    design = torch.einsum("pt,tr->trp", features(rows.inputs), mean[0, rows.agent]).flatten(1)

    def fit(columns: list[int]) -> tuple[torch.Tensor, float]:
        part = design[:, columns]
        found = torch.linalg.lstsq(part, rows.target).solution
        return found, float((rows.target - part @ found).square().sum())

    p = BASIS.size
    wanted = [0, 2, 3, 7]
    weights, least = fit([*wanted, *(p + w for w in wanted)])
    costs = removal_costs(
        unpacked(sums, 0)[0], weights.view(2, len(wanted)), torch.tensor(wanted), p, 0.0
    )
    for number, gone in enumerate(wanted):
        rest = [w for w in wanted if w != gone]
        _, more = fit([*rest, *(p + w for w in rest)])
        assert float(costs[number]) == pytest.approx(more - least, rel=1e-6)


def test_terms_that_cancel_out_are_dropped() -> None:
    rows, stats, factors = twins()
    whole = fitted(stats, factors)
    # Each by itself seems to matter: the twins share the law between them.
    assert whole.weights[0, 0, :, 1:3, 0].abs().min() > 1e-3
    mask = torch.ones_like(whole.weights[0, :, 0], dtype=torch.bool)
    assert kept(needed(whole, stats, mask, 3e-3, 1e-10)) == {"x"}
    short = prune(whole, stats, 1e-2, 1e-10, rounds=20)
    assert kept((short.weights != 0).any(2)[0]) == {"x"}
    assert float(short.noise.sqrt()) == pytest.approx(1e-3, rel=0.1)


def test_a_threshold_of_nothing_drops_nothing_and_a_large_one_everything() -> None:
    rows, stats, factors = twins()
    whole = fitted(stats, factors)
    mask = torch.ones_like(whole.weights[0, :, 0], dtype=torch.bool)
    assert bool(needed(whole, stats, mask, 0.0, 1e-10).all())
    nothing = prune(whole, stats, 0.99, 1e-10, rounds=5)
    assert len(kept((nothing.weights != 0).any(2)[0])) <= 1
    assert torch.isfinite(nothing.weights).all()
