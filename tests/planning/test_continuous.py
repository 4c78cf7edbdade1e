"""Coloured noise and what else searches over continuous actions share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from persim_gym.planning.continuous import Units, coloured_noise, shifted
from tests.planning.scores import BOX, HIGH, LOW, generator


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("h", [1, 2, 7, 16])
def test_noise_has_mean_0_and_deviation_1_at_every_step(beta: float, h: int) -> None:
    noise = coloured_noise((2, 4000, h, 2), beta, generator(1))
    assert noise.shape == (2, 4000, h, 2)
    assert noise.mean(1).abs().max() < 0.08
    assert noise.std(1).sub(1).abs().max() < 0.06


@pytest.mark.parametrize("beta", [0.0, 0.7, 2.0, 3.5])
def test_the_power_of_noise_falls_with_frequency(beta: float) -> None:
    h = 64
    noise = coloured_noise((1, 2000, h, 2), beta, generator()).double()
    power = torch.fft.rfft(noise, dim=2).abs().square().mean((0, 1, 3))[1:].numpy()
    slope = np.polyfit(np.log(np.arange(1, h // 2 + 1)), np.log(power), 1)[0]
    assert slope == pytest.approx(-beta, abs=0.03)


@pytest.mark.parametrize("h", [8, 9])
def test_neighbours_in_noise_are_as_alike_as_the_spectrum_says(h: int) -> None:
    noise = coloured_noise((1, 20_000, h, 1), 2.0, generator(2))[0, :, :, 0].double().numpy()
    waves = np.abs(np.fft.fftfreq(h))
    waves[0] = 1 / h
    expected = np.fft.ifft(waves**-2.0).real
    measured = [np.mean(noise * np.roll(noise, lag, axis=1)) for lag in range(h)]
    np.testing.assert_allclose(measured, expected / expected[0], atol=0.02)


def test_sequences_problems_and_coordinates_draw_for_themselves() -> None:
    noise = coloured_noise((2, 3000, 10, 2), 3.0, generator())
    first = noise[:, :, 0].permute(1, 0, 2).reshape(3000, 4).numpy()
    assert np.abs(np.corrcoef(first.T) - np.eye(4)).max() < 0.07
    along = noise[0, :, 0, 0].numpy()
    assert abs(np.corrcoef(along[1:], along[:-1])[0, 1]) < 0.07


def test_a_generator_decides_the_noise() -> None:
    shape = (1, 3, 6, 2)
    one, two, other = (coloured_noise(shape, 1.5, generator(seed)) for seed in (4, 4, 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_units_span_the_range() -> None:
    units = Units.of(BOX, torch.device("cpu"), "this")
    torch.testing.assert_close(units.actions(torch.tensor([-1.0, -1.0])), LOW)
    torch.testing.assert_close(units.actions(torch.tensor([1.0, 1.0])), HIGH)


def test_units_need_bounds() -> None:
    with pytest.raises(ValueError, match="this needs an action space with bounds"):
        Units.of(Box(-np.inf, np.inf, (2,), dtype=np.float32), torch.device("cpu"), "this")


def test_plans_move_on_by_a_step() -> None:
    plans = torch.arange(6.0).view(2, 3, 1)
    moved = shifted(plans, torch.tensor([False, True]))
    assert moved[:, :, 0].tolist() == [[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]
