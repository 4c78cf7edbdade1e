"""Windows of transitions, the noise of observations in them, and what bounds cut off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from persim_gym.learned.latent.data import LatentData, missed, noise_of_observations, window_starts
from persim_gym.learned.latent.fit import fit_latent
from tests.learned.latent_worlds import QUICK, THRESHOLDS, error, kink, record, relax


@pytest.mark.slow
def test_windows_take_the_bias_of_noisy_observations_away() -> None:
    rates = np.linspace(0.5, 2.0, 16)
    noisy = record(relax, rates, 100, seed=1, noise=0.4)
    options = replace(QUICK, window_steps=200, windows=64, window_learning_rate=5e-3)
    several = fit_latent(noisy.data, options, frame=noisy.frame)
    one = fit_latent(noisy.data, replace(QUICK, steps=200))
    assert error(several, noisy, relax, rates) < 0.5 * error(one, noisy, relax, rates)


@pytest.mark.slow
def test_noise_of_observations_is_measured_and_noise_of_dynamics_is_not_taken_for_it() -> None:
    rates = np.full(8, 1.0)
    noisy = record(relax, rates, 200, seed=2, noise=0.1)
    network = fit_latent(noisy.data, QUICK)
    found, _ = noise_of_observations(network, noisy.data)
    size = 0.1 * noisy.scale[0] / noisy.change_scale[0]  # noise makes up 1 % of the scale
    assert found.sqrt().item() == pytest.approx(size, rel=0.2)
    rng = np.random.default_rng(3)
    shaken = record(
        lambda s, a, r: relax(s, a, r) + 0.1 * rng.standard_normal(len(s)), rates, 200, seed=2
    )
    found, left = noise_of_observations(fit_latent(shaken.data, QUICK), shaken.data)
    assert found.item() < 0.1 * left.item()


@pytest.mark.slow
def test_what_differs_between_neighbours_in_time_is_seen() -> None:
    rng = np.random.default_rng(0)
    agents = np.repeat(np.arange(8), 100)
    state, speed, action = rng.standard_normal((3, len(agents)))
    features = np.stack([state, state - 0.01 * speed, action], axis=1)
    changes = (speed + 0.5 * action)[:, None]
    data = LatentData(features / features.std(0), changes / changes.std(), agents, agents, 8)
    assert fit_latent(data, QUICK).noise.max() < 0.01


def test_windows_do_not_cross_a_gap_or_an_episode() -> None:
    recorded = record(kink, THRESHOLDS, 80, seed=0)
    starts = window_starts(recorded.data, recorded.frame, 10, 1)
    assert len(starts) == len(THRESHOLDS) * (80 - 9)
    rows = np.delete(np.arange(len(recorded.data)), 40)
    parts = [getattr(recorded.data, n)[rows] for n in ("features", "changes", "agents", "episodes")]
    gapped = replace(
        recorded.data,
        **dict(zip(("features", "changes", "agents", "episodes"), parts, strict=True)),
    )
    starts = window_starts(gapped, recorded.frame, 10, 1)
    assert not ((starts > 30) & (starts < 40)).any()
    assert {30, 40} <= set(starts.tolist())


def test_what_goes_beyond_a_bound_is_not_missed() -> None:
    error = torch.tensor([[0.5, -0.5, 0.5, -0.5, 0.5]])
    cut = torch.tensor([[1, 1, -1, -1, 0]], dtype=torch.int8)
    assert missed(error, cut).tolist() == [[0.0, -0.5, 0.5, 0.0, 0.5]]
    assert missed(error, None) is error
