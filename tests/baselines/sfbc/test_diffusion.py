"""The sampler against a truth: mixtures of Gaussians, whose best prediction is known exactly."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from persim_gym.baselines.sfbc.diffusion import Denoise, Schedule, solve

SCHEDULE = Schedule()


def mixture(means: list[float], deviations: list[float], weights: list[float]) -> Denoise:
    """The exact mean of the data given a noisy point, for a mixture in one dimension."""
    mean, deviation, weight = (
        torch.tensor(values, dtype=torch.float64) for values in (means, deviations, weights)
    )

    def denoise(points: Tensor, time: float) -> Tensor:
        alpha, sigma = SCHEDULE.scales(torch.tensor(time, dtype=torch.float64))
        variance = (alpha * deviation).square() + sigma.square()
        off = points - alpha * mean
        share = (weight.log() - 0.5 * off.square() / variance - 0.5 * variance.log()).softmax(-1)
        own = mean + alpha * deviation.square() / variance * off
        return (share * own).sum(-1, keepdim=True)

    return denoise


def noise(n: int) -> Tensor:
    """Standard normal numbers ``[n, 1]``, evenly spread: sampling adds no error of its own."""
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return torch.special.ndtri(levels)[:, None]


@pytest.mark.parametrize("value", [-4.9, -1.0, 0.0, 2.5, 4.5])
def test_times_and_signal_to_noise_are_each_others_inverse(value: float) -> None:
    assert SCHEDULE.half_log_snr(SCHEDULE.time_of(value)) == pytest.approx(value, abs=1e-9)


def test_the_noise_preserves_variance() -> None:
    alpha, sigma = SCHEDULE.scales(torch.linspace(0, 1, 50, dtype=torch.float64))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(50, dtype=torch.float64))
    assert alpha[0] == 1
    assert alpha[-1] < 0.01


@pytest.mark.parametrize(("steps", "near"), [(10, 0.04), (15, 0.015), (100, 0.006)])
def test_modes_and_weights_of_a_mixture(steps: int, near: float) -> None:
    means, deviations, weights = [-0.7, 0.1, 0.6], [0.05, 0.1, 0.05], [0.5, 0.2, 0.3]
    found = solve(mixture(means, deviations, weights), noise(20_001), SCHEDULE, steps)[:, 0]
    nearest = (found[:, None] - torch.tensor(means, dtype=torch.float64)).abs().argmin(1)
    for mode in range(3):
        own = found[nearest == mode]
        assert len(own) / len(found) == pytest.approx(weights[mode], abs=near)
        assert float(own.mean()) == pytest.approx(means[mode], abs=near)
        assert float(own.std()) == pytest.approx(deviations[mode], abs=near)


def test_the_error_falls_with_the_square_of_the_step() -> None:
    denoise, start = mixture([-0.5, 0.6], [0.3, 0.2], [0.4, 0.6]), noise(201)
    exact = solve(denoise, start, SCHEDULE, 1024)
    errors = [
        float((solve(denoise, start, SCHEDULE, steps) - exact).square().mean().sqrt())
        for steps in (16, 32, 64, 128)
    ]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders == pytest.approx([2, 2, 2], abs=0.2)
    assert errors[0] < 0.02


def test_a_sampler_of_first_order_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order's test can fail: without the correction the error falls with the step alone."""
    import dataclasses

    from persim_gym.baselines.sfbc import diffusion

    denoise, start = mixture([-0.5, 0.6], [0.3, 0.2], [0.4, 0.6]), noise(201)
    exact = solve(denoise, start, SCHEDULE, 1024)
    plan = diffusion._plan
    monkeypatch.setattr(
        diffusion,
        "_plan",
        lambda *given: tuple(dataclasses.replace(step, correct=0.0) for step in plan(*given)),
    )
    errors = [
        float((solve(denoise, start, SCHEDULE, steps) - exact).square().mean().sqrt())
        for steps in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)
