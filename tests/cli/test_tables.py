"""Tables on the command line: fitted, described, and refused where only truth would do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persim_gym.cli.next_step import say_plan
from persim_gym.learned import PerSim
from tests.cli.commands import run

COLUMNS = ("--agent-column", "who", "--time-column", "t", "--state", "x, y", "--action", "u")
TINY = ("--epochs", "2", "--ensemble-size", "1", "--rank", "1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three agents of eight rows each; agent ``c`` ends beyond 8.5."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "who": np.repeat(["a", "b", "c"], 8),
            "t": np.tile(np.arange(8.0), 3),
            "x": np.tile(np.arange(8.0), 3) + np.repeat([0.0, 1.0, 2.0], 8),
            "y": rng.normal(size=24),
            "u": rng.uniform(size=24),
        }
    )
    frame["r"] = frame["x"] ** 2
    frame["end"] = frame["x"] > 8.5
    path = tmp_path / "walkers.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_table_without_an_action(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Growth of trees: every command goes on, and none asks for what is not there."""
    sim, page, columns = tmp_path / "sim", tmp_path / "page", [*COLUMNS[:-1], ""]
    assert columns[-2:] == ["--action", ""]
    result = run("fit", file, "--out", sim, *columns, *TINY)
    assert re.search(r"reward +the data have none", result.stdout)
    trust = run("validate", sim, "--out", page)
    assert "The data have no action" in trust.stdout
    assert "next: " not in trust.stderr  # it is worth nothing
    say_plan(PerSim.load(sim), "sim", "a")
    assert capsys.readouterr().err == "next: persim-gym render sim --agent a --out sim.png\n"
    drawn = run("render", sim, "--agent", "a", "--out", tmp_path / "a.png")
    assert "next: persim-gym explore" in drawn.stderr
    shown = run("plan", sim, "--agent", "a", "--steps", 2, "--reward", "next.x")
    assert "no action" in shown.stdout


def test_fit_of_a_table(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sim"
    result = run("fit", file, "--out", out, *COLUMNS, "--reward", "r", "--terminated", "end", *TINY)
    assert "read: 24 rows of 3 agents: 21 transitions in 3 trajectories" in result.stderr
    assert re.search(r"reward learned as +\w+", result.stdout)
    assert "R2" not in result.stdout  # which says nothing of the states
    assert re.search(r"^x +\S+ +\S+ +\S+ ", result.stdout, re.MULTILINE)
    assert re.search(r"end \(limits\), held-out accuracy", result.stdout)
    sim = PerSim.load(out)
    assert sim.agent_names == ("a", "b", "c")
    assert sim.task.name == "walkers"
    again = run("fit", file, "--out", out, *COLUMNS, "--reward", "r", "--terminated", "end", *TINY)
    assert "holds the simulator of this very fit already" in again.stderr
    # The same states with another reward are other data.
    refused = run("fit", file, "--out", out, *COLUMNS, "--reward", "x", *TINY, code=2)
    assert "another fit (other data)" in refused.stderr


def test_options_reach_the_reader(file: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(file)
    frame.loc[3, "x"] = np.nan
    frame["u"] = (frame["u"] * 20).round()
    frame["part"] = frame["t"] // 4
    frame = pd.concat([frame, frame[-1:].assign(who="lone", part=0)])
    frame.to_csv(file, index=False)
    refused = run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY, code=2)
    assert refused.stderr == (
        "error: column 'x' of agent 'a', row 3: the value is missing; fill it in, or leave such "
        "rows out with --drop\n"
    )
    options = ("--drop", "--discrete-actions", "--max-gap", "3", "--task-name", "other", "--json")
    result = run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY, *options)
    card = json.loads(result.stdout)
    assert card["task"] == card["data_task"]["name"] == "other"
    assert card["data_task"]["actions"] > 5
    assert card["dataset"]["transitions"] == 19
    assert card["agent_names"] == ["a", "b", "c"]
    steps = ("--agent-column", "who", "--step-column", "t", "--state", "y", "--action", "u")
    result = run(
        "fit", file, "--out", tmp_path / "parts", *steps, *TINY, "--episode-column", "part",
        "--drop", "--continuous-actions", "--json",
    )  # fmt: skip
    card = json.loads(result.stdout)
    assert card["dataset"]["transitions"] == 18
    assert card["data_task"]["actions"] is None


def test_angles_of_columns(file: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(file)
    frame["cos"], frame["sin"] = np.cos(frame["y"]), np.sin(frame["y"])
    frame["heading"] = (frame["x"] * 20) % 360
    frame.to_csv(file, index=False)
    columns = (*COLUMNS[:4], "--state", "x,heading,cos,sin", "--action", "u")
    angles = ("--angle", "heading=360", "--angle", "cos,sin")
    out = tmp_path / "sim"
    card = json.loads(run("fit", file, "--out", out, *columns, *TINY, *angles, "--json").stdout)
    assert card["source"]["columns"]["angles"] == [["heading", 360.0], ["cos", "sin"]]
    assert str(card["metrics"]["geometry"]).count("360") == 1
    wrong = run("fit", file, "--out", tmp_path / "w", *columns, "--angle", "wind", code=2)
    assert "--angle names 'wind', which is no state column" in wrong.stderr


@pytest.mark.slow
def test_units_of_another_table_are_those_of_the_fit(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sim"
    run("fit", file, "--out", out, *COLUMNS, "--method", "hierarchical", "--unit", "x=mg")
    frame = pd.read_csv(file)
    frame["who"] += "2"
    frame.to_csv(tmp_path / "new.csv", index=False)
    adapt = ("adapt", out, tmp_path / "new.csv", "--out", tmp_path / "more")
    refused = run(*adapt, "--unit", "x=g", code=2)
    assert "--unit says that 'x' is in g, the simulator was fitted to mg" in refused.stderr
    assert "outside its declared bounds" in run(*adapt, "--bounds", "x=0:3", code=2).stderr
    run(*adapt, "--unit", "x=mg", "--bounds", "x=0:30")
    assert PerSim.load(tmp_path / "more").num_agents == 6
    # Columns that are called otherwise are named, and are those of the fit.
    frame.assign(who=pd.read_csv(file)["who"]).rename(columns={"x": "X", "y": "Y"}).to_csv(
        tmp_path / "named.csv", index=False
    )
    other = ("--data", tmp_path / "named.csv", "--state", "X,Y")
    run("render", out, "--agent", "a", "--out", tmp_path / "a.png", *other)
    plan = ("plan", out, "--agent", "a", "--reward", "next.x", "--max-steps", "2")
    assert "Plan for a" in run(*plan, *other).stdout


@pytest.mark.slow
def test_bounds_and_units_of_columns(file: Path, tmp_path: Path) -> None:
    options = ("--bounds", "x=-90:", "--bounds", "y=:", "--unit", "x=km/h", "--unit", "u=a=b")
    result = run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY, *options, "--json")
    task = json.loads(result.stdout)["data_task"]
    assert task["limits"] == [[-90.0, None], [None, None]]
    assert task["obs_units"] == ["km/h", ""]
    assert task["action_units"] == ["a=b"]
    shown = run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY, *options).stdout
    assert re.search(r"predictions stay within +x >= -90 km/h\s", shown)
    other = run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY, code=2)
    assert "another fit (other data)" in other.stderr
    for wrong, says in (
        (("--bounds", "x"), "--bounds is NAME=LOW:HIGH, such as ferritin=0:, got 'x'"),
        (("--bounds", "x=3"), "--bounds is NAME=LOW:HIGH"),
        (("--bounds", "x=low:"), "--bounds is NAME=LOW:HIGH"),
        (("--bounds", "z=0:"), "there are x, y"),
        (("--bounds", "x=90:"), "outside its declared bounds 90 to inf"),
        (("--unit", "x"), "--unit is NAME=UNIT, such as ferritin=ug/L, got 'x'"),
    ):
        refused = run("fit", file, "--out", tmp_path / "wrong", *COLUMNS, *TINY, *wrong, code=2)
        assert says in refused.stderr
        assert refused.stderr.count("\n") <= 2  # a note of what was read, and the error


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ("table.csv",),
            "the table table.csv needs --agent-column, --state, --action, --time-column or "
            "--step-column: its columns are 'who', 't'",
        ),
        (("table.csv", *COLUMNS[:2], *COLUMNS[4:]), "needs --time-column or --step-column"),
        (("nowhere.csv",), "there is no table at nowhere.csv"),
        (("nowhere.csv", *COLUMNS), "there is no table at nowhere.csv"),
        (
            ("persim/x-v0", "--reward", "r"),
            "--reward-column is for tables, and 'persim/x-v0' is none",
        ),
        (("persim/x-v0", "--drop"), "--drop is for tables"),
    ],
)
def test_what_is_refused(
    args: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("who,t\n")
    result = run("fit", *args, "--out", tmp_path / "sim", code=2)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert not (tmp_path / "sim").exists()


def test_commands_that_need_the_truth_refuse(file: Path, tmp_path: Path) -> None:
    run("fit", file, "--out", tmp_path / "sim", *COLUMNS, *TINY)
    for command in ("plan", "train"):  # there is no reward either
        result = run(command, tmp_path / "sim", "--agent", "a", "--out", tmp_path / "o", code=2)
        assert "the data have no reward that could be learned" in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "o").exists()


def test_columns_with_commas_and_numbers_for_names(file: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(file).rename(columns={"x": "dose, mg", "y": "2"})
    frame["who"] = frame["who"].map({"a": "01", "b": "1", "c": "12E3"})
    frame.to_csv(tmp_path / "w.tsv.gz", index=False, sep="\t")
    options = (*COLUMNS[:4], "--state", '"dose, mg",2', "--action", "u", *TINY)
    run("fit", tmp_path / "w.tsv.gz", "--out", tmp_path / "sim", *options)
    sim = PerSim.load(tmp_path / "sim")
    assert sim.card["obs_names"] == ["dose, mg", "2"]
    assert sim.agent_names == ("01", "1", "12E3")
    broken = (*COLUMNS[:4], "--state", '"dose, mg', "--action", "u")
    refused = run("fit", tmp_path / "w.tsv.gz", "--out", tmp_path / "s", *broken, code=2)
    assert "put one that holds a comma in double quotes" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_folder_of_parquet_files_and_a_warning(file: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(file)
    frame["x"] = 1e6 + 1e-3 * frame["x"]
    frame.to_parquet(tmp_path / "walkers", partition_cols=["who"])
    result = run("fit", tmp_path / "walkers", "--out", tmp_path / "sim", *COLUMNS, *TINY)
    assert "warning: coordinate 'x': values of about 1e+06" in result.stderr
    assert PerSim.load(tmp_path / "sim").agent_names == ("a", "b", "c")
