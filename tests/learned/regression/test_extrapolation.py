"""What is asked for beyond a noisy record: a law goes on there, an approximation is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.regression.extrapolation import CLOSE, FAR, extrapolates, outermost
from tests.learned.springs import AGENTS, fitted, recorded, spring

Floats = NDArray[np.float64]
NOISE = 0.02
OPTIONS: dict[str, dict[str, Any]] = {
    "als": {"rank": 2, "threshold": 0.0, "ensemble_size": 1},
    "hierarchical": {"ensemble_size": 2},
}

each = pytest.mark.parametrize(
    "method", [pytest.param("als", marks=pytest.mark.slow), "hierarchical"]
)


def friction(x: Floats, own: Floats) -> Floats:
    """What saturates: a polynomial is one of it near the record only."""
    return -own * np.tanh(4 * x)


def widths_beyond(sim: PerSim, x: Floats) -> float:
    """Widths of the recorded range by which the state may leave it."""
    ensemble: Any = sim.ensemble
    if isinstance(ensemble, PolynomialEnsemble):
        units, high = ensemble.inputs, ensemble.inputs.high
    else:
        units, high = ensemble.frame, ensemble.model.held[1]
    most = float(high[0] * units.scale[0] + units.centre[0])
    return float((most - x.max()) / (x.max() - x.min()))


@each
def test_a_law_goes_on_beyond_a_noisy_record(method: str) -> None:
    table, own = recorded(lambda _: NOISE)
    sim, most = fitted(table, method, degree=2, **OPTIONS[method]), float(table["x"].max())
    far = np.full((AGENTS, 1), 1.8 * most, dtype=np.float32)
    change = sim.rollout(np.arange(AGENTS), far, np.zeros((AGENTS, 1, 1)))[..., 0, 0] - far[:, 0]
    miss = np.abs(change.mean(0) - spring(far[:, 0], own))
    held = np.abs(spring(np.full(AGENTS, (1 + 2 * CLOSE) * most), own) - spring(far[:, 0], own))
    assert np.median(miss) < 0.5 * np.median(held)
    assert widths_beyond(sim, table["x"].to_numpy()) == pytest.approx(FAR, abs=0.02)


@each
def test_an_approximation_is_held_near_a_noisy_record(method: str) -> None:
    table, _ = recorded(lambda _: NOISE, friction)
    sim = fitted(table, method, degree=3, **OPTIONS[method])
    assert widths_beyond(sim, table["x"].to_numpy()) == pytest.approx(CLOSE, abs=0.02)


def test_outermost_transitions_are_further_out_than_what_is_held() -> None:
    values = torch.as_tensor(np.random.default_rng(0).normal(size=(5000, 2)))
    found = outermost(values)
    assert found is not None
    inside, out = found
    low, high = values[inside].amin(0), values[inside].amax(0)
    away = torch.maximum(low - values, values - high)[out] / (high - low)
    assert not bool((inside & out).any())
    assert bool((away.amax(1) > 0.9 * CLOSE).all())


def test_a_record_without_outermost_transitions_does_not_say() -> None:
    values = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(500, 1)
    assert outermost(values) is None


def test_a_few_agents_alone_do_not_say_that_a_law_goes_on() -> None:
    rng = np.random.default_rng(1)
    noise = torch.as_tensor(rng.normal(size=(400, 1)))
    many, few = torch.arange(400) % 20, torch.arange(400) % 3
    assert extrapolates(noise + 2, noise, noise, many)
    assert not extrapolates(noise + 2, noise, noise, few)
    assert not extrapolates(noise, noise + 2, noise, many)
    assert not extrapolates(noise, noise, noise, many)
