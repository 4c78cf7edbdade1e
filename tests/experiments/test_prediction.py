"""Prediction error on worlds with known answers, and of a fitted simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation import follow
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.methods import METHODS, Method
from persim_gym.experiments.prediction import policy_families
from persim_gym.experiments.recordings import population_of
from persim_gym.experiments.row_files import Row
from persim_gym.experiments.stages import run_cell
from tests.experiments.paper_cells import TrueRollout, quick, tiny

pytestmark = pytest.mark.usefixtures("recorded")


FAMILIES = ("test-policy", "scripted")


def register(monkeypatch: pytest.MonkeyPatch, name: str, make: Any, **options: Any) -> None:
    method = Method(name, name, make, ("prediction", "reward"), learns=False, **options)
    monkeypatch.setitem(METHODS, name, method)


def errors(row: Row, family: str) -> np.ndarray:
    return np.array([own["rmse"] for own in row.results["families"][family]], dtype=np.float64)


@pytest.mark.parametrize("task", ["cartpole", "mountain-car"])
def test_the_truth_predicts_without_error(
    task: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truth(context: Context) -> Model:
        population = population_of(context.cell)
        return Model(predictor=TrueRollout(SUITES[context.cell.task].dynamics(population)))

    register(monkeypatch, "truth", truth)
    cell = quick(task=task, method="truth", episodes=5, agents=(0, 1, 2, 3, 4), seed=3)
    row, nothing = run_cell(cell, folder), run_cell(replace(cell, method="persistence"), folder)
    for family in FAMILIES:
        assert errors(row, family).max() < 1e-4
        # Else it might be that nothing moves.
        assert errors(nothing, family).min() > 100 * errors(row, family).max()


def test_the_error_of_persistence_is_how_far_it_goes(folder: Path) -> None:
    cell = quick(episodes=3, agents=(0, 3))
    row = run_cell(cell, folder)
    assert (
        row.results["coordinates"] == ["x", "x_dot", "theta", "theta_dot"]
        or len(row.results["coordinates"]) == 4
    )
    suite = SUITES["cartpole"]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    for family, policy in policy_families(task, cell.seed).items():
        seen = follow(task, true, cell.agents, policy, episodes=3, seed=0)
        moved = np.square(seen.true - seen.obs[:, seen.warmup].astype(np.float32)[:, None])
        lived = seen.valid.any(axis=1)
        each = [np.sqrt(moved[i][seen.valid[i]].mean()) for i in np.flatnonzero(lived)]
        agents = seen.agents[lived]
        known = [np.mean(np.array(each)[agents == agent]) for agent in cell.agents]
        np.testing.assert_allclose(errors(row, family), known, rtol=1e-9)


@pytest.mark.slow
def test_a_simulator_predicts_better_than_nothing(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    cell = tiny(fit=())
    row = run_cell(cell, folder, threads=1, on_stage=lambda *stage: told.append(stage))
    assert row.cell == cell
    assert set(row.results["families"]) == set(FAMILIES)
    assert row.results["fit"]["members"] == 5
    assert set(row.seconds) == {"data", "fit", "run"}
    assert row.machine["device"] == "cpu"
    assert row.machine["threads"] == 1
    assert {"python", "persim-gym", "torch"} <= set(row.versions)
    assert [stage for stage in told if stage[1:] == (0, 1)] == [
        ("fit", 0, 1), ("data", 0, 1), ("run", 0, 1),
    ]  # fmt: skip
    assert told[-1] == ("run", 2, 2)
    nothing = run_cell(quick(episodes=2), folder)
    for family in FAMILIES:
        assert (errors(row, family) < errors(nothing, family)).all()
