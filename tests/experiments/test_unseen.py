"""Agents that were not in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments import unseen
from persim_gym.experiments.stages import run_cell
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from tests.experiments.paper_cells import tiny


@pytest.mark.slow
@pytest.mark.usefixtures("recorded")
def test_unseen_agents_are_not_in_the_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = tiny("unseen")
    fitted: list[Transitions] = []
    fit = PerSim.fit

    def spy(data: Any, **options: Any) -> PerSim:
        fitted.append(data)
        return fit(data, **options)

    monkeypatch.setattr(PerSim, "fit", spy)
    told: list[tuple[str, int, int]] = []
    row = run_cell(
        replace(cell, train_agents=24), folder, threads=1, on_stage=lambda *s: told.append(s)
    )
    assert row.results["agents"] == [30, 31]
    assert [set(data.agent.tolist()) for data in fitted] == [set(range(24))]
    known = [entry["known"] for entry in row.results["known"]]
    assert known == ["mean", "covariates", *map(str, unseen.COUNTS)]
    assert all(np.shape(entry["rmse"]) == (2,) for entry in row.results["known"])
    assert told[-1] == ("run", len(known), len(known))
    again = run_cell(replace(cell, train_agents=24), folder, threads=1)  # its fit is on disk now
    assert again.results == row.results
    assert len(fitted) == 1


def test_agents_of_the_fit_are_not_unseen() -> None:
    with pytest.raises(ValueError, match=r"agents \[3\] are among the 25 agents of the fit"):
        tiny("unseen", agents=(3, 30))


@pytest.mark.slow
@pytest.mark.usefixtures("recorded")
def test_knowing_an_agent_helps(folder: Path) -> None:
    """Of 25 CartPoles in closed form, 50 transitions tell more than nothing does."""
    agents = (30, 31, 32, 33, 34, 35)
    row = run_cell(tiny("unseen", agents=agents, episodes=4, fit=()), folder, threads=1)
    error = {entry["known"]: np.mean(entry["rmse"]) for entry in row.results["known"]}
    assert error["50"] < 0.5 * error["mean"]
    assert error["covariates"] < error["mean"]
