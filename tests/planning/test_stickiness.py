"""Sequences that keep to what they do for a while."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from persim_gym.planning.stickiness import check_sticky, last_draws, shares


@pytest.mark.parametrize("sticky", [1.0, -0.1, (0.5, 1.0), ()])
def test_what_is_no_probability_below_1_is_refused(sticky: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="sticky"):
        check_sticky(sticky)


def test_candidates_take_turns() -> None:
    check_sticky((0.0, 0.5))
    assert shares((0.0, 0.5), 5).tolist() == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert shares(0.25, 2).tolist() == [0.25, 0.25]


def test_a_step_draws_or_stays_with_the_last_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = last_draws(50, 40, torch.tensor([0.0, 0.8]), generator)
    assert drawn.shape == (50, 2, 40)
    assert (drawn[:, 0] == torch.arange(40)).all()
    assert (drawn <= torch.arange(40)).all()
    assert (drawn[..., 0] == 0).all()
    again = drawn[:, 1, 1:] == drawn[:, 1, :-1]
    assert float(again.float().mean()) == pytest.approx(0.8, abs=0.03)
