"""What commands say of how far a simulator can be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.cli.trust import _labels, print_heldout
from persim_gym.envs.suites import find_suite
from tests.cli.commands import run
from tests.cli.weeks import COLUMNS, FIT, frame


def test_fit_ends_with_errors_by_coordinate_and_warns(tmp_path: Path) -> None:
    table = tmp_path / "weeks.csv"
    frame().to_csv(table, index=False)
    fine = run("fit", table, "--out", tmp_path / "a", *COLUMNS, *FIT)
    assert "Error (RMSE) 10 steps ahead, on steps kept from the fit" in fine.stdout
    assert "warning" not in fine.stderr
    bad = ("--method", "sgd", "--epochs", "1", "--ensemble-size", "1")
    poor = run("fit", table, "--out", tmp_path / "b", *COLUMNS, *bad)
    assert "on steps that the fit has seen" in poor.stdout
    assert "the simulator predicts worse: glucose (than " in poor.stderr
    assert "the pooled model" in poor.stderr


def test_predictions_that_have_faded_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of the simulator's own is left in them: no plan can be made with them."""
    rmse = {name: [1.0, 1.0] for name in ("simulator", "persistence", "pooled")}
    heldout = {"deviation": [1.0, 1.0], "rmse": rmse, "steps": 7, "seen": False}
    weights = {"1": [1.0, 0.4], "3": [0.9, 0.0], "5": [0.9, 0.0]}
    metrics = {"heldout": heldout, "fading": {"weight": weights}}
    card = {"obs_names": ["glucose", "weight"], "metrics": metrics}
    print_heldout(card)
    said = "predictions do not depend on the actions: weight (from step 3 on)"
    assert said in capsys.readouterr().err
    print_heldout({**card, "data_task": {"action_labels": ["none"]}})
    assert "actions" not in capsys.readouterr().err


def test_a_coordinate_is_lost_where_a_reference_is_better(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rmse = {"simulator": [2.0, 1.0, 3.0], "persistence": [1.0, 2.0, 1.0], "pooled": [4.0, 2.0, 1.0]}
    heldout = {"deviation": [1.0] * 3, "rmse": rmse, "steps": 1, "seen": False}
    names = {"obs_names": ["a", "b", "c"], "obs_units": ["kg", "", "m"]}
    print_heldout({**names, "metrics": {"heldout": heldout}})
    shown = capsys.readouterr()
    assert "Error (RMSE) 1 step ahead, on steps kept from the fit" in shown.out
    rows = [line.split() for line in shown.out.split("\n") if line.strip()][-3:]
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert [row[-1] for row in rows] == ["persistence", "-", "model"]
    worse = "a (kg) (than persistence), c (m) (than persistence and the pooled model);"
    assert f"1 step ahead the simulator predicts worse: {worse}" in shown.err
    print_heldout({"metrics": {}})
    assert capsys.readouterr().out == ""


def test_coordinates_have_their_names() -> None:
    assert _labels({"task": "cartpole"}, 4) == list(find_suite("cartpole").coordinates)
    assert _labels({"task": "own"}, 2) == ["obs 0", "obs 1"]
    assert _labels({"obs_names": ["a", "b"], "obs_units": ["kg", ""]}, 2) == ["a (kg)", "b"]
