"""What a simulator keeps of its agents, in memory and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.posterior import calibration
from tests.evaluation.validation.worlds import patients
from tests.learned.posterior.worlds import GaussianWorld, part


@pytest.mark.parametrize("method", ["als", pytest.param("sgd", marks=pytest.mark.slow)])
def test_save_and_load(
    method: str, exact: GaussianWorld, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if method == "sgd":
        sim = request.getfixturevalue("networks")[1].to("cpu")
    else:
        sim = request.getfixturevalue("sim")
    rows = exact.new_agent(6)
    agent = sim.adapt(*part(rows, 0, 3), name="Ada")
    sim.save(tmp_path)
    back = PerSim.load(tmp_path, task=sim.task)
    assert back.num_agents == sim.num_agents
    assert back.agent_index("Ada") == agent
    np.testing.assert_array_equal(back.latent_factors, sim.latent_factors)
    assert back.prior.to_json() == sim.prior.to_json()
    for other in (sim, back):
        other.update("Ada", *part(rows, 3, 6))
    np.testing.assert_array_equal(back.latent_factors, sim.latent_factors)
    for one, two in zip(*(s.posterior(2).interval(*rows[:2]) for s in (sim, back)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert back.card["adapted"] == sim.card["adapted"]


def test_an_agent_without_a_recorded_past_says_what_it_can() -> None:
    """One whose record is shorter than a lag, beside others."""
    data = patients(6, 20)
    data = data.select((data.agent > 0) | (data.step < 2))
    fit: dict[str, Any] = {"method": "hierarchical", "degree": 1, "ensemble_size": 1}
    sim = PerSim.fit(data, lag=3, progress=False, **fit)
    assert [sim.posterior(agent).count for agent in (0, 1)] == [2, 18]


@pytest.mark.slow
def test_too_many_agents_to_keep_what_was_said(
    exact: GaussianWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_KEPT", 100)
    sim = exact.fit()
    agent = sim.adapt(*exact.new_agent(2))
    sim.save(tmp_path)
    for kept in (sim, PerSim.load(tmp_path, task=exact.task)):
        assert kept.update(agent, *exact.new_agent(3)).count == 5
        with pytest.raises(ValueError, match="was not kept"):
            kept.update(3, *exact.new_agent(2))
        with pytest.raises(ValueError, match="was not kept"):
            kept.map_covariates(np.zeros((80, 1)))
