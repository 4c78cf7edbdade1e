"""Steps of many rows of a closed form: whichever way weights are kept, they are the ensemble's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned import compiled_lanes
from persim_gym.learned.compiled import compile_ensemble
from tests.learned.closed_form.test_ensemble import KINDS, some
from tests.learned.ensembles import expected, following, rows

#: Limits by which it is chosen: a product of all rows, factors multiplied in at every step.
WAYS: dict[str, dict[str, int]] = {"products": {"FEW": 0}, "by factor": {"OWN_NUMBERS": 0}}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("limits", WAYS.values(), ids=WAYS.keys())
def test_kinds_of_weights(
    kind: dict[str, Any], limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(compiled_lanes, name, value)
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
