"""The searches: do they find the best, and does each setting do what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from persim_gym.planning import CEM, ICEM, MPPI, Planner, RandomShooting
from tests.planning.scores import BOX, THREE, plan, quadratic

# -- random shooting -------------------------------------------------------------------------------


def test_a_horizon_of_one() -> None:
    def score(actions: Tensor) -> Tensor:
        return (actions == 2).double().sum(-1)

    previous = torch.zeros((2, 1), dtype=torch.long)
    assert plan(RandomShooting(20, 1), score, THREE, 2, previous).action.tolist() == [2, 2]

    def square(actions: Tensor) -> Tensor:
        return -(actions - 1.0).square().sum((-1, -2))

    space = Box(-2.0, 2.0, (1,), dtype=np.float32)
    found = plan(CEM(100, horizon=1, elites=10), square, space, 2, torch.zeros((2, 1, 1)))
    assert found.action.sub(1).abs().max() < 0.05


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_a_seed_decides_everything(planner: Planner) -> None:
    score = quadratic(torch.full((2, 3, 2), 2.2))
    before = torch.get_rng_state()
    one, two, other = (plan(planner, score, BOX, 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, two.actions)
    assert not torch.equal(one.actions, other.actions)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_what_ranks_last_is_not_chosen(planner: Planner) -> None:
    """Half of the range leads out of the finite numbers; the rest has returns far below zero."""

    def score(actions: Tensor) -> Tensor:
        good = actions[..., 0, 0] < 1.0
        return torch.where(good, -1e6 - actions[..., 0, 0], -torch.inf)

    found = plan(planner, score, BOX, problems=3)
    assert torch.isfinite(found.returns).all()
    assert (found.action[:, 0] < 1.0).all()


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_a_plan_is_made_even_where_all_is_lost(planner: Planner) -> None:
    found = plan(planner, lambda a: torch.full(a.shape[:2], -torch.inf), BOX, problems=2)
    assert torch.isfinite(found.actions).all()
    assert BOX.contains(found.action[0].numpy())
    assert (found.returns == -torch.inf).all()


INVALID: list[tuple[Any, dict[str, Any], str]] = [
    *[(RandomShooting, {name: value}, f"{name} must be a positive integer, got")
      for name in ("candidates", "horizon") for value in (0, -5, 1.5, True, "9")],
    *[(CEM, {name: 0}, f"{name} must be a positive integer, got 0")
      for name in ("candidates", "horizon", "elites", "rounds")],
    (CEM, {"candidates": 10, "elites": 11}, "11 elites cannot be chosen of 10 candidates"),
    *[(CEM, {"keep": value}, "keep must be in") for value in (-0.1, 1.0, float("nan"))],
    *[(CEM, {"deviation": value}, "deviation must be positive")
      for value in (0.0, -1.0, float("nan"), float("inf"))],
]  # fmt: skip


@pytest.mark.parametrize(("planner", "settings", "message"), INVALID)
def test_settings_that_cannot_be(planner: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planner(**settings)


def test_settings_of_the_paper_are_the_defaults() -> None:
    assert RandomShooting() == RandomShooting(candidates=1000, horizon=50)
    assert CEM() == CEM(candidates=200, horizon=30, elites=50, rounds=6, keep=0.1)


@pytest.mark.parametrize("planner", [RandomShooting(4, 2), CEM(4, 2, elites=2), ICEM(), MPPI()])
def test_continuous_actions_need_bounds(planner: Planner) -> None:
    def worthless(actions: Tensor) -> Tensor:
        return torch.zeros(actions.shape[:2])

    with pytest.raises(ValueError, match=f"{type(planner).__name__} needs an action space with"):
        plan(planner, worthless, Box(-np.inf, np.inf, (2,), dtype=np.float32))
