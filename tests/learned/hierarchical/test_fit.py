"""Every agent's own polynomial under a population's prior, on laws that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.hierarchical.fit import HierarchicalFit, fit_hierarchical
from tests.learned.hierarchical.quadratics import World, error


@pytest.mark.parametrize("agents", [1, 2, 30])
def test_a_law_of_full_rank_is_found(agents: int) -> None:
    world = World(agents)
    fit = fit_hierarchical(*world.record(40), agents)
    assert fit.degree == 2
    assert error(fit, world).max() < 1e-4
    assert float(fit.model.noise.max()) < 1e-9


def test_agents_with_few_transitions_lean_on_the_population() -> None:
    world = World(60, rank=2)
    z, y, agent = world.record(30, noise=0.05)
    few = agent < 20
    kept = ~few | (np.arange(len(agent)) % 30 < 4)  # four transitions, six coefficients
    fit = fit_hierarchical(z[kept], y[kept], agent[kept], 60, degree=2)
    pooled = fit_hierarchical(z[kept], y[kept], np.zeros(kept.sum(), int), 1, degree=2)
    shared = pooled.model.with_factors(pooled.model.factors.expand(-1, 60, -1))
    all_alike = error(HierarchicalFit(shared, 2, None, (), ()), world)
    assert np.median(error(fit, world)[:20]) < 0.15 * np.median(all_alike[:20])


def test_members_differ_as_much_as_the_truth_from_their_mean() -> None:
    world = World(50)
    z, y, agent = world.record(12, noise=0.3)
    model = fit_hierarchical(z, y, agent, 50, degree=2, members=30).model
    rng = np.random.default_rng(4)
    point = rng.uniform(-1, 1, (50, 2))
    who = torch.arange(50)
    drawn = model.change(who, torch.as_tensor(point)).numpy()
    left = (drawn.mean(0) - world.change(np.arange(50), point)) / drawn.std(0)
    assert 0.7 < np.sqrt(np.mean(left**2)) < 1.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": np.zeros((3, 2))}, "of at least one transition are expected"),
        ({"features": np.full((8, 2), np.nan)}, "must be finite"),
        ({"agent": np.arange(8)}, "agents must be from 0 to 3, got 0 to 7"),
        ({"effort": "much"}, "effort must be one of quick, default, thorough"),
        ({"members": 0}, "members must be at least 1"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], said: str) -> None:
    given = {"features": np.zeros((8, 2)), "change": np.zeros((8, 1)), "agent": np.arange(8) // 2}
    options = {"num_agents": 4} | given | change
    with pytest.raises(ValueError, match=said):
        fit_hierarchical(**options)


def test_equal_fits_are_equal_and_leave_random_state_alone() -> None:
    data = World(8).record(20, noise=0.1)
    state = torch.get_rng_state()
    one, two, other = (fit_hierarchical(*data, 8, seed=s).model.factors for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
