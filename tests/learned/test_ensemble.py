"""What all ensembles share: settling, and candidates that follow one member each."""

from __future__ import annotations

import pytest
import torch

from persim_gym.learned.ensemble import before_bounds
from tests.learned.closed_form.polynomials import AGENTS, some


def test_settled_values_are_in_the_space_or_nan() -> None:
    ensemble = some()
    _, high = ensemble.limits
    inf = float("inf")
    given = torch.tensor(
        [[9.0, 0.25], [inf, 0.25], [0.25, -inf], [float("nan"), 20.0]], dtype=torch.float64
    )
    found = ensemble.settle(given)
    assert found[0].tolist() == [float(high[0]), 0.25]
    assert torch.isnan(found[1, 0])  # infinite: no bound that a planner could take for the goal
    assert torch.isnan(found[2, 1])
    assert torch.isnan(found[3, 0])
    assert found[3, 1] == high[1]


def test_a_step_is_what_comes_before_bounds_and_settled() -> None:
    ensemble = some()
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    rows = torch.arange(30) % AGENTS, states, torch.arange(30) % 3
    free = before_bounds(ensemble, *rows)
    assert bool((free[..., 0] > ensemble.high[0]).any())
    torch.testing.assert_close(ensemble.step(*rows), ensemble.settle(free), rtol=0, atol=0)


def test_candidates_stay_with_their_member_when_others_are_dropped() -> None:
    ensemble = some()
    agents, states = torch.tensor([0, 3]), torch.zeros(2, 2, dtype=torch.float64)
    actions = torch.randint(3, (2, 7, 3), generator=torch.Generator().manual_seed(1))
    kept = torch.tensor([[6, 1, 4], [0, 5, 2]])
    walk = ensemble.unroll(agents, states, actions, "sampled")
    first = next(walk)
    assert first.shape == (1, 2, 7, 2)
    second = walk.send(kept)
    for p in range(2):
        for place, candidate in enumerate(kept[p].tolist()):
            member, obs = candidate % ensemble.members, states[p : p + 1]
            for t in range(2):
                acted = actions[p, candidate, t : t + 1]
                obs = ensemble.step(agents[p : p + 1], obs, acted)[member]
            torch.testing.assert_close(second[0, p, place], obs[0], rtol=0, atol=1e-12)


def test_modes_are_known() -> None:
    walk = some().unroll(torch.tensor([0]), torch.zeros(1, 2), torch.zeros(1, 1, 1).long(), "all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode must be one of members, mean, sampled, got 'all'"):
        next(walk)
