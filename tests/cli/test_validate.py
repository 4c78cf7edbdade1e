"""``persim-gym validate``, and what ``fit`` and ``evaluate`` say of own data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persim_gym.cli.tables import Columns
from persim_gym.cli.validate import _say_next
from tests.cli.commands import run
from tests.cli.weeks import COLUMNS, FIT, frame

QUICK = ("--method", "hierarchical", "--ensemble-size", "1")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "weeks.csv"
    frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def sim(table: Path) -> Path:
    out = table.parent / "sim"
    run("fit", table, "--out", out, *COLUMNS, *FIT)
    return out


@pytest.mark.parametrize(
    ("data", "folder"),
    [
        ("persim/cartpole/random-v0", "runs/cartpole"),
        ("poles-v0", "runs/poles-v0"),
        ("./recorded", "runs/recorded"),
        ("tables/weeks.csv", "runs/weeks"),
    ],
)
def test_whatever_data_are_called_the_next_command_is_said(
    data: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _say_next(None, data, Columns(), {"method": "als", "ensemble_size": 3})
    fit = f"fit {data} --out {folder} --method als --ensemble-size 3"
    assert capsys.readouterr().err == f"next: persim-gym {fit}\n"


@pytest.mark.slow
def test_a_run_is_validated_and_rules_decide_the_exit_code(
    sim: Path, table: Path, tmp_path: Path
) -> None:
    common = ("validate", sim, "--data", table, *COLUMNS, "--horizons", "1,5")
    out = tmp_path / "trust"
    fine = run(*common, "--out", out, "--require", "rmse(glucose)<persistence")
    assert "Values may be read off" in fine.stdout
    assert (out / "index.html").exists()
    assert json.loads((out / "validation.json").read_text())["grade"] == "good"
    rules = ("--require", "rmse(*)<persistence", "--require", "coverage(weight,3)>=1.1", "--json")
    failed = run(*common, "--out", out, *rules, code=1)
    assert failed.stderr.count("failed: ") == 1
    assert "coverage(weight,3)>=1.1: weight in split ends: coverage at 3 steps" in failed.stderr
    plain = json.loads(failed.stdout)
    assert len(plain["failing"]) == 1
    # A rule's number of steps is judged, too.
    assert [at["steps"] for at in plain["splits"][0]["coordinates"]["weight"]["at"]] == [1, 3, 5]


@pytest.mark.slow
def test_a_policys_value_is_said(sim: Path, table: Path, tmp_path: Path) -> None:
    common = ("validate", sim, "--data", table, *COLUMNS, "--horizons", "1", "--out", tmp_path)
    result = run(*common, "--policy", "hold", "--reward", "-abs(next.glucose - 100)", "--json")
    plain = json.loads(result.stdout)
    assert plain["off_policy"]["reward"] == "-abs(next.glucose - 100)"
    assert plain["off_policy"]["sentences"][0] in plain["verdict"]


@pytest.mark.slow
def test_data_are_validated_before_they_are_fitted(table: Path, tmp_path: Path) -> None:
    result = run("validate", table, *COLUMNS, "--out", tmp_path, *QUICK, "--split", "time")
    assert "Split time: 8 agents" in result.stdout
    assert "too short to predict 50 steps" in result.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--require", "rmse(glucose)=1"), "is no rule: expected QUANTITY"),
        (("--require", "rmse(sugar)<1"), "names column 'sugar': the data have glucose, weight"),
        (("--split", "middle"), "--split must be one of ends"),
        (("--horizons", "1,x"), "--horizon must be like 1,10,50"),
        (("--horizons", "0"), "--horizon must be at least 1"),
        (("--method", "magic"), "--method must be one of"),
        (("--data", "other.csv"), "--data is of a simulator"),
        (("--policy", "mpc-like"), "--policy must be hold, random or the folder"),
        (("--policy-steps", "3"), "--policy-steps is of a policy's value"),
        (("--policy", "hold", "--reward", "-abs(sugar)"), "there is no column 'sugar'"),
    ],
)
def test_wrong_options_end_with_2_before_any_work(
    args: tuple[str, ...], says: str, table: Path, tmp_path: Path
) -> None:
    result = run("validate", table, *COLUMNS, "--out", tmp_path / "out", *args, code=2)
    assert result.stdout == ""
    assert says in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_split_by_behaviour_and_the_data_of_the_fit(
    sim: Path, table: Path, tmp_path: Path
) -> None:
    data = pd.read_csv(table)
    data["phase"] = np.where(data["week"] < 30, "run in", "trial")
    data.to_csv(tmp_path / "phases.csv", index=False)
    labelled = ("--data", tmp_path / "phases.csv", "--behaviour-column", "phase")
    common = ("validate", sim, "--out", tmp_path / "o", "--horizon", "1")
    said = run(*common, *labelled)
    assert "Split behaviour: 8 agents" in said.stdout
    assert "Kept from the fit: behaviour trial" in said.stderr
    unnamed = run(*common, "--split", "behaviour")
    assert "name the column of a table that does (--behaviour-column), or" in unnamed.stdout
    wrong = run(*common, "--behaviour-column", "phase", code=2)  # the fit's table has no such one
    assert "the table has no column 'phase'" in wrong.stderr
    later = data.assign(week=data["week"] + 100)
    later.to_csv(tmp_path / "later.csv", index=False)
    new = (*common, "--split", "new", "--data", tmp_path / "later.csv")
    assert "Name them (--fitted-on) for the pooled model" in run(*new).stderr
    assert "pooled" in run(*new, "--fitted-on", table).stdout


@pytest.mark.slow
def test_a_simulator_is_fitted_in_its_own_way(sim: Path, tmp_path: Path) -> None:
    refused = run("validate", sim, "--out", tmp_path, "--method", "als", code=2)
    assert "--method is of data" in refused.stderr
    run("validate", sim, "--out", tmp_path)  # the table is read again by the columns of the fit
    assert (tmp_path / "index.html").exists()


@pytest.mark.slow
def test_what_was_declared_is_part_of_the_fit(table: Path, tmp_path: Path) -> None:
    """Bounds and both units at once: without any of them the data would be others."""
    declared = ("--bounds", "weight=-50:50", "--unit", "weight=kg", "--unit", "dose=mg")
    run("fit", table, "--out", tmp_path / "sim", *COLUMNS, *FIT, *declared)
    alone = run("validate", tmp_path / "sim", "--out", tmp_path / "a", "--horizons", "1")
    given = run(
        "validate", tmp_path / "sim", "--data", table, "--out", tmp_path / "b", "--horizons", "1"
    )
    # The data of the fit are known again: a part of them is kept from another one.
    assert "Split ends" in alone.stdout
    assert given.stdout.replace("/b/", "/a/") == alone.stdout
    evaluated = run("evaluate", tmp_path / "sim", "--horizon", "1")
    assert "Split ends" in evaluated.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says", "code"),
    [
        ("one agent", "There is one agent", 0),
        ("three rows", "too few transitions|nothing to learn|too few to judge", 0),
        ("empty column", "column 'weight'.*--drop", 2),
    ],
)
def test_bad_tables_get_a_page_that_says_so(
    name: str, says: str, code: int, tmp_path: Path
) -> None:
    made = {"one agent": frame(1, 30), "three rows": frame(1, 4)}.get(name, frame(3, 12))
    if name == "empty column":
        made["weight"] = np.nan
    made.to_csv(tmp_path / "bad.csv", index=False)
    run("validate", tmp_path / "bad.csv", *COLUMNS, "--out", tmp_path, *QUICK, code=code)
    assert re.search(says, (tmp_path / "index.html").read_text().replace("&#39;", "'"))


@pytest.mark.slow
def test_evaluate_of_own_data_is_held_out(sim: Path, table: Path, tmp_path: Path) -> None:
    result = run("evaluate", sim, "--data", table, "--horizon", "5")
    assert "Split ends: 8 agents" in result.stdout
    assert "Values may be read off" in result.stdout
    again = run("validate", sim, "--out", tmp_path / "t", "--horizons", "1", "--json")
    assert json.loads(again.stdout)["facts"]["fitted by"] == "hierarchical"
