"""What MPPI alone has: weights, temperature, shrinking noise. The rest is in `test_icem.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from persim_gym.planning import MPPI
from persim_gym.planning.mppi import weights
from tests.planning.scores import BOX, Recording, flat, generator, plan, quadratic, scaled


def test_weights_are_the_exponential_of_returns_in_deviations() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    expected = torch.exp((returns - 3) / returns.std(correction=0) / 0.7)
    torch.testing.assert_close(weights(returns, 0.7), expected / expected.sum())


def test_weights_have_no_units() -> None:
    returns = torch.rand((3, 20), generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(weights(1000 * returns - 70, 0.3), weights(returns, 0.3))


@pytest.mark.parametrize("temperature", [1e-6, 0.3, 1e6])
def test_weights_at_their_extremes(temperature: float) -> None:
    returns = torch.tensor(
        [
            [-torch.inf] * 4,  # nothing is left
            [5.0] * 4,  # all are alike
            [-torch.inf, 2.0, -torch.inf, -torch.inf],
            [-torch.inf, 2.0, 1e30, 1e30],
        ],
        dtype=torch.float64,
    )
    found = weights(returns, temperature)
    torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))
    assert found[0].tolist() == [0.25] * 4
    assert found[1].tolist() == [0.25] * 4
    assert found[2].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert found[3, 0] == 0
    assert found[3, 2] == found[3, 3] > 0.3


def test_a_low_temperature_takes_the_best_and_a_high_one_all() -> None:
    score = Recording(quadratic(torch.full((2, 3, 2), 2.3)))
    best = plan(MPPI(60, 3, rounds=1, temperature=1e-4), score, problems=2)
    returns = score.score(score.asked[0])
    for i in range(2):
        torch.testing.assert_close(best.actions[i], score.asked[0][i, returns[i].argmax()])
    torch.testing.assert_close(best.returns, returns.amax(1))
    every = plan(MPPI(60, 3, rounds=1, temperature=1e5), score, problems=2)
    torch.testing.assert_close(every.actions, score.asked[1].mean(1), atol=1e-3, rtol=0)
    assert (every.returns < best.returns).all()


def test_noise_shrinks_from_round_to_round() -> None:
    for shrink in (1.0, 0.5):
        score = Recording(flat)
        plan(MPPI(3000, 2, rounds=3, deviation=0.2, shrink=shrink), score)
        widths = [scaled(asked).std(1).mean().item() for asked in score.asked]
        assert widths[1] / widths[0] == pytest.approx(shrink, rel=0.05)
        assert widths[2] / widths[1] == pytest.approx(shrink, rel=0.05)


def test_the_first_candidate_is_the_plan_itself() -> None:
    target = torch.full((2, 4, 2), 2.4)
    found = plan(MPPI(30, 4, rounds=2), quadratic(target), problems=2)
    score = Recording(flat)
    plan(MPPI(30, 4, rounds=1), score, BOX, 2, found.carried)
    old = torch.cat([found.actions[:, 1:], found.actions[:, -1:]], dim=1)
    torch.testing.assert_close(score.asked[0][:, 0], old)


def test_scaling_and_shifting_returns_changes_nothing() -> None:
    score = quadratic(torch.full((2, 3, 2), 2.1))

    def other(actions: Tensor) -> Tensor:
        scaled: Tensor = 500 * score(actions) - 30
        return scaled

    one, two = (plan(MPPI(40, 3), each, problems=2) for each in (score, other))
    torch.testing.assert_close(one.actions, two.actions, atol=1e-3, rtol=0)


INVALID: list[tuple[dict[str, Any], str]] = [
    *[({name: 0}, f"{name} must be a positive integer, got 0")
      for name in ("candidates", "horizon", "rounds")],
    ({"candidates": 1}, "candidates must be at least 2, got 1"),
    *[({"temperature": value}, "temperature must be a number, more than 0, got")
      for value in (0.0, -1.0, float("nan"), float("inf"), "1")],
    ({"beta": -0.1}, "beta must be a number, at least 0 and at most 10, got -0.1"),
    ({"deviation": 0.0}, "deviation must be a number, more than 0, got 0.0"),
    *[({"shrink": value}, "shrink must be a number, more than 0 and at most 1")
      for value in (0, 2)],
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), INVALID)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MPPI(**settings)
