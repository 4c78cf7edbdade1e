"""Networks made ready for stepping, beside the networks themselves."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.stepping import lane_calls
from persim_gym.learned.stepping.compile import compile_ensemble
from persim_gym.learned.stepping.lane_calls import WIDE
from persim_gym.learned.stepping.network import CompiledNetwork, _layers
from tests.learned.ensembles import (
    CONTINUOUS,
    DISCRETE,
    ENSEMBLES,
    expected,
    following,
    network,
    rows,
)

UNIT = np.ones(3)


def compiled(ensemble: Any) -> CompiledNetwork:
    assert isinstance(ensemble, NetworkEnsemble)
    return CompiledNetwork(ensemble, UNIT)


def test_wide_layers_go_through_torch_and_give_the_same() -> None:
    ensemble = network(DISCRETE, hidden=(WIDE + 1,))
    wide, narrow = compiled(ensemble), compiled(ensemble)
    assert wide.wide
    assert not compiled(network(DISCRETE, hidden=(WIDE,))).wide
    narrow.wide = False
    given = rows(ensemble, 17)
    found = [following(made, *given) for made in (wide, narrow)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], expected(ensemble, *given), rtol=1e-5, atol=1e-5)


def test_inputs_beyond_the_known_ones_are_held() -> None:
    ensemble = network(DISCRETE, hold=True)
    made = compiled(ensemble)
    assert made.hold is not None
    agents, actions, states = np.array([0, 0]), np.array([1, 1]), np.zeros((2, 3))
    states[:, 0] = 0.4, 9.0
    mean, _ = made.change(agents, states.T, actions)
    np.testing.assert_allclose(mean[:, 0], mean[:, 1], atol=1e-5)
    free = compiled(network(DISCRETE))
    mean, _ = free.change(agents, states.T, actions)
    assert np.abs(mean[:, 0] - mean[:, 1]).max() > 1e-3


@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_numbers_too_large_are_no_warning(task: Any) -> None:
    ensemble = network(task)
    made = compiled(ensemble)
    action: Any = 1 if task is DISCRETE else [0.5, 0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _, disagreement = made.row(0)([1e38, -1e38, 1e38], action)
    assert not np.isfinite([*mean, disagreement]).all() or np.abs(mean).max() > 1e37


def test_layers_are_turned_for_columns_of_rows() -> None:
    arrays = {
        "state.0.weight": np.arange(12.0, dtype=np.float32).reshape(2, 2, 3),
        "state.0.bias": np.zeros((2, 1, 3), np.float32),
        "action.0.weight": np.ones((2, 2, 1), np.float32),
        "action.0.bias": np.ones((2, 1, 1), np.float32),
    }
    ((weight, bias),) = _layers(arrays, "state")
    assert (weight.shape, bias.shape) == ((2, 3, 2), (2, 3, 1))
    np.testing.assert_array_equal(weight[1].T, arrays["state.0.weight"][1])
    assert weight.flags.c_contiguous
    assert _layers(arrays, "joint") == []


def test_the_change_is_in_the_targets_units() -> None:
    """A network whose last layer is nothing but a bias changes every state by its mean."""
    ensemble: Any = network(DISCRETE)
    tensors = ensemble.network.tensors
    tensors["head.weight"].zero_()
    tensors["head.bias"].zero_()
    made = compiled(ensemble)
    state = [0.1, -0.2, 0.3]
    mean, _, disagreement = made.row(2)(state, 1)
    np.testing.assert_allclose(mean, state + ensemble.scaling.target_mean.numpy(), rtol=1e-6)
    assert disagreement == pytest.approx(0.0, abs=1e-7)
    assert torch.equal(tensors["head.bias"], torch.zeros_like(tensors["head.bias"]))


NETWORKS = {name: made for name, made in ENSEMBLES.items() if name.startswith("network")}


@pytest.mark.parametrize("ensemble", NETWORKS.values(), ids=NETWORKS.keys())
def test_rows_a_few_at_a_time(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_calls, "TOGETHER", 1)
    compiled = compile_ensemble(ensemble, np.ones(ensemble.obs_dim))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 21)  # the last few are fewer
    for who in (agents, agents[::-1].copy()):
        true = expected(ensemble, who, states, actions)
        found = following(compiled, who, states, actions)
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=2e-6 * np.abs(true).max())
