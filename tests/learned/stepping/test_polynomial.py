"""A closed form made ready for stepping: however weights are kept, they are the ensemble's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.stepping import polynomial as compiled_polynomial
from persim_gym.learned.stepping.compile import compile_ensemble
from persim_gym.learned.stepping.polynomial import CompiledPolynomial
from tests.learned.closed_form.polynomials import KINDS, some
from tests.learned.ensembles import expected, following, rows

#: Limits by which it is chosen: a product of all rows, factors multiplied in at every step.
WAYS: dict[str, dict[str, int]] = {"products": {"FEW": 0}, "by factor": {"OWN_NUMBERS": 0}}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("limits", WAYS.values(), ids=WAYS.keys())
def test_kinds_of_weights(
    kind: dict[str, Any], limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(compiled_polynomial, name, value)
    ensemble = some(**kind)
    compiled = compile_ensemble(ensemble, np.array([0.5, 1.5]))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 21)
    for who in (agents, np.full(21, 2)):
        true = expected(ensemble, who, states, actions)
        found = following(compiled, who, states, actions)
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=2e-6 * np.abs(true).max())


def test_a_law_that_members_share_has_no_contrasts() -> None:
    ensemble = some()
    ensemble.factors[:, :, 0] = 1.0
    ensemble.weights[:, :, 1:, :, 0] = 0.0
    ensemble.weights[..., 0] = ensemble.weights[:1, ..., 0]
    unit = np.array([0.5, 1.5])
    compiled = compile_ensemble(ensemble, unit)
    assert compiled is not None
    members, d, contrasts = compiled.axes.shape
    assert (d, contrasts) == (2, members - 1), "those of the other coordinate"
    agents, states, actions = rows(ensemble, 21)
    true = expected(ensemble, agents, states, actions)
    found = following(compiled, agents, states, actions)
    np.testing.assert_allclose(found, true, rtol=1e-5, atol=2e-6 * np.abs(true).max())
    apart = np.square((true - true.mean(0)) / unit).mean(axis=(0, 2))
    squares = np.square(compiled.change(agents, states.T, actions)[1]).sum(axis=0)
    np.testing.assert_allclose(squares, apart, rtol=1e-4)


def test_a_constant_alone() -> None:
    ensemble = some()
    ensemble.weights[:, :, :, 1:] = 0.0
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 5)
    true = expected(ensemble, agents, states, actions)
    np.testing.assert_allclose(following(compiled, agents, states, actions), true, atol=1e-5)


def test_what_all_agents_share_is_shared_and_rounding_is_not_personal() -> None:
    ensemble = some()
    weights = ensemble.weights.clone()
    weights[:, :, 1:, :, 0] = 1e-12  # of the second factor, in the first coordinate
    ensemble.factors[:, :, 0] = 1.0
    ensemble.weights = weights
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert isinstance(compiled, CompiledPolynomial)
    assert not compiled.weights[:, :, 1:, :, 0].any()
    assert compiled.weights[:, :, 1:, :, 1].any()
    agents, states, actions = rows(ensemble, 12)
    found = following(compiled, agents, states, actions)
    np.testing.assert_allclose(found, expected(ensemble, agents, states, actions), atol=2e-6)


def test_an_agents_slow_drift_far_from_zero_is_its_own() -> None:
    ensemble, offset = some(), np.array([1e6, 0.0])
    ensemble.weights[:, :, 1:, :, 0] *= 1e-3
    ensemble.factors[:, :, 0] = 1.0
    agents, states, actions = rows(ensemble, 12)
    true = expected(ensemble, agents, states, actions)
    centre = ensemble.inputs.centre + torch.as_tensor(offset)
    ensemble.inputs = replace(ensemble.inputs, centre=centre)
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert compiled is not None
    found = following(compiled, agents, states + offset, actions) - offset
    np.testing.assert_allclose(found, true, atol=2e-6)


def test_other_factors_are_other_agents_of_the_same_weights() -> None:
    ensemble = some()
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 9)
    compiled.row(0)(states[0].tolist(), 1)
    other = ensemble.with_factors(ensemble.factors * 2 + 1)
    again = compile_ensemble(other, np.ones(2), compiled)
    assert isinstance(again, CompiledPolynomial)
    assert again.weights is compiled.weights  # type: ignore[attr-defined]
    true = expected(other, agents, states, actions)
    found = following(again, agents, states, actions)
    np.testing.assert_allclose(found, true, atol=1e-5)
    mean = again.row(0)(states[0].tolist(), 1)[0]
    np.testing.assert_allclose(
        mean, expected(other, np.array([0]), states[:1], np.array([1])).mean(0)[0]
    )
