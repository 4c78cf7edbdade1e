"""Returns in the true environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from persim_gym.core import Policy
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.returns import episode_returns
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.recordings import population_of
from persim_gym.experiments.stages import run_cell
from persim_gym.learned.simulator import PerSim
from persim_gym.planning import MPC
from tests.experiments.paper_cells import quick, tiny

pytestmark = pytest.mark.usefixtures("recorded")


def reference(cell: Cell, policy: Policy | str) -> np.ndarray:
    suite = SUITES[cell.task]
    return episode_returns(
        suite.task(), suite.dynamics(population_of(cell)), cell.agents, policy, cell.episodes,
        cell.seed, max_episode_steps=cell.max_episode_steps,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "policy"), [("random", "random"), ("test-policy", "test")])
def test_returns_of_a_policy_are_those_of_the_evaluation(
    method: str, policy: str, folder: Path
) -> None:
    cell = quick(experiment="reward", method=method, episodes=3, agents=(0, 4), seed=5)
    row = run_cell(cell, folder)
    found = [own["returns"] for own in row.results["agents"]]
    assert [own["agent"] for own in row.results["agents"]] == [0, 4]
    np.testing.assert_array_equal(found, reference(cell, policy))
    assert "planning" not in row.results
    short = run_cell(replace(cell, max_episode_steps=7), folder)
    assert {value for own in short.results["agents"] for value in own["returns"]} == {7.0}


@pytest.mark.slow
def test_planning_is_that_of_the_named_planner(folder: Path) -> None:
    cell = tiny("reward", planner="paper", penalty=0.25, episodes=2)
    row = run_cell(cell, folder, threads=1)
    sim = PerSim.load(folder / "models" / str(cell.fit_key))
    mpc = MPC(sim, list(cell.agents), planner="paper", penalty=0.25, seed=0)
    found = [own["returns"] for own in row.results["agents"]]
    np.testing.assert_array_equal(found, reference(cell, mpc))
    said = row.results["planning"]
    assert said["planner"] == "RandomShooting"
    assert said["penalty"] == 0.25
    assert said["decisions"] == 2 * 2 * 5
    assert said["batches"] == 5
    assert 0 < said["seconds"] <= row.seconds["run"]
    other = run_cell(replace(cell, planner="categorical-cem"), folder, threads=1)
    assert other.results["planning"]["planner"] == "CategoricalCEM"


def test_planning_in_the_truth_learns_nothing(root: Path, tmp_path: Path) -> None:
    cell = quick(experiment="reward", method="true", max_episode_steps=3, planner="default")
    row = run_cell(cell, tmp_path, threads=1)
    assert row.results["planning"]["decisions"] == 2 * 1 * 3
    assert not (tmp_path / "models").exists()
