"""Noise of the process and of observations, told apart where both are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.learned.noisy_worlds import WORLDS, fitted


@pytest.mark.parametrize(
    "name", [pytest.param("none", marks=pytest.mark.slow), "process", "observations", "both"]
)
def test_both_kinds_are_told_apart(name: str) -> None:
    process, observed = WORLDS[name].process, WORLDS[name].observed
    noise = fitted(name).uncertainty.noise
    found = np.sqrt(noise.observation)
    if observed is None:
        assert (found < 0.01).all()
    else:
        np.testing.assert_allclose(found, observed, rtol=0.25)
    if process is None:
        # What noise of observations does to the regression is the model's misfit.
        assert (np.sqrt(np.diag(noise.process)) < 0.035).all()
    else:
        np.testing.assert_allclose(np.sqrt(np.diag(noise.process)), [0.05, 0.05], rtol=0.3)
        correlation = noise.process[0, 1] / np.sqrt(np.prod(np.diag(noise.process)))
        assert correlation == pytest.approx(0.6, abs=0.2)


@pytest.mark.slow
def test_agents_of_different_noise_have_scales_of_their_own() -> None:
    noise = fitted("by agent").uncertainty.noise
    quiet, loud = noise.scale[::2].mean(), noise.scale[1::2].mean()
    assert loud / quiet == pytest.approx(4.0, rel=0.2)
    alike = fitted("process").uncertainty.noise
    assert alike.scale.max() / alike.scale.min() < 1.3


def test_noise_that_grows_with_the_state_is_found() -> None:
    noise = fitted("growing").uncertainty.noise
    assert (noise.slope.sum(0) > 1.0).all(), "the variance goes with the square of the state"
    small, large = np.full(2, 0.1), np.full(2, 1.0)
    ratio = noise.factor(large, large) / noise.factor(small, small)
    assert (ratio > 3).all()
    assert fitted("process").uncertainty.noise.constant


@pytest.mark.slow
def test_heavy_tails_do_not_blow_the_estimate_up() -> None:
    noise = fitted("heavy tails").uncertainty.noise
    assert (np.sqrt(np.diag(noise.process)) < 0.06).all()
    assert (np.sqrt(np.diag(noise.process)) > 0.025).all()
