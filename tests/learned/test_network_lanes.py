"""Steps of many rows of networks, which go through the layers a few at a time."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned import lane_calls
from persim_gym.learned.compiled import compile_ensemble
from persim_gym.learned.ensemble import Ensemble
from tests.learned.ensembles import ENSEMBLES, expected, following, rows

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
