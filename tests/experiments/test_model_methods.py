"""CaDM and MOReL as methods of the benchmark: what they make of a cell's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persim_gym.baselines import policy_search
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.presets import MODELS
from persim_gym.experiments.stages import run_cell

_CADM = (("encoder", (8,)), ("hidden", (8,)), ("steps", 20), ("batch_size", 8))
_MOREL = (
    ("hidden", (8,)), ("updates", 20), ("batch_size", 8), ("policy_hidden", (8,)), ("lanes", 4),
    ("policy_steps", 100), ("imitation", 1),
)  # fmt: skip


def cell(method: str, experiment: str, **changes: Any) -> Cell:
    fit = _CADM if "cadm" in method else _MOREL
    given: dict[str, Any] = {"planner": "default"} if METHODS[method].plans else {}
    return Cell(
        experiment=experiment, task="cartpole", dataset="random", method=method, agents=(0, 2),
        train_agents=6, episodes=1, max_episode_steps=4 if experiment == "reward" else None,
        fit=fit, **(given if experiment == "reward" else {}), **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the recording of all these cells goes."""
    return str(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
@pytest.mark.parametrize("method", MODELS)
def test_a_cell_of_each_is_run(
    method: str, data_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", data_folder)
    monkeypatch.setattr(policy_search, "ROLLOUT", 4)
    row = run_cell(cell(method, "reward"), tmp_path)
    agents = row.results["agents"]
    assert [own["agent"] for own in agents] == [0, 2]
    assert all(own["returns"] == [4.0] for own in agents)
    assert ("planning" in row.results) == METHODS[method].plans
    assert row.results["fit"]["dataset"]["id"].startswith("persim/cartpole/random")
    # The fit of the first cell is the second's, too.
    monkeypatch.setattr(
        "persim_gym.baselines.face.Baseline.fit", lambda *_, **__: pytest.fail("fitted again")
    )
    row = run_cell(cell(method, "prediction"), tmp_path)
    errors = [own["rmse"] for own in row.results["families"]["scripted"]]
    assert len(errors) == 2
    assert all(error is None or error > 0 for error in errors)


@pytest.mark.parametrize("method", MODELS)
def test_options_of_a_fit_are_checked_before_any_work(method: str) -> None:
    import dataclasses

    bad = dataclasses.replace(cell(method, "prediction"), fit=(("wings", 2),))
    with pytest.raises(ValueError, match="unknown option 'wings'"):
        METHODS[method].check(bad)
