"""What is compared: each method's model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments.context import context_of
from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.stages import run_cell
from persim_gym.learned.simulator import PerSim
from tests.experiments.paper_cells import TINY_FIT, tiny

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.mark.slow
def test_a_simulator_of_other_data_does_not_pass_for_a_cells_own(
    folder: Path, tmp_path: Path
) -> None:
    run_cell(tiny(), folder, threads=1)
    other = tiny(seed=1)
    lying = tmp_path / "models" / str(other.fit_key)
    shutil.copytree(folder / "models" / str(tiny().fit_key), lying)
    with pytest.raises(ValueError, match=r"random-v0'.*random-seed-1-v0'.*--force"):
        run_cell(other, tmp_path, threads=1)


@pytest.mark.slow
def test_one_simulator_for_all_answers_all_agents_alike(folder: Path) -> None:
    cell = tiny(method="one-for-all", fit=(*TINY_FIT[:1], ("rank", 1), *TINY_FIT[2:]))
    context = context_of(cell, folder / "models")
    model = METHODS["one-for-all"].make(context)
    assert model.predictor is not None
    assert model.dynamics is not None
    assert model.dynamics.num_agents == 25
    obs, actions = np.full((2, 4), 0.02), np.ones((2, 3), dtype=np.int64)
    seen = np.asarray(model.predictor.rollout(np.array([0, 7]), obs, actions))
    np.testing.assert_array_equal(seen[:, 0], seen[:, 1])
    steps = model.dynamics.step(np.array([0, 7]), obs, actions[:, 0])
    np.testing.assert_array_equal(steps[0], steps[1])
    own = run_cell(cell, folder, threads=1)
    assert own.results["families"] != run_cell(tiny(), folder, threads=1).results["families"]


@pytest.mark.slow
def test_networks_are_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = (("epochs", 1), ("ensemble_size", 2), ("spare_members", 0))
    told: list[tuple[str, int, int]] = []
    row = run_cell(
        tiny(method="persim-networks", fit=options), folder, threads=1,
        on_stage=lambda *stage: told.append(stage),
    )  # fmt: skip
    assert row.results["fit"]["fitted_by"] == "sgd"
    assert row.results["fit"]["members"] == 2
    assert ("fit", 1, 1) in told
    asked: dict[str, Any] = {}

    def fit(data: Any, **rest: Any) -> PerSim:
        asked.update(rest)
        raise RuntimeError("asked")

    monkeypatch.setattr(PerSim, "fit", fit)
    with pytest.raises(RuntimeError, match="asked"):
        run_cell(tiny(method="persim-paper", fit=(("epochs", 2),)), folder)
    assert (asked["method"], asked["preset"], asked["epochs"]) == ("sgd", "paper", 2)
