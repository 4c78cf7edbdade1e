"""`persim-gym benchmark`: runs, goes on, lists, says what failed, and refuses what cannot be."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from persim_gym.experiments import engines
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.engines import Done
from persim_gym.experiments.ledger import read_ledger, wanted_cells
from persim_gym.experiments.presets import preset_cells
from persim_gym.experiments.row_files import RowFiles
from persim_gym.experiments.runner import failure_path
from tests.cli import commands
from tests.cli.cells import quick

invoke = partial(commands.invoke, "benchmark")
refuse = partial(commands.refuse, "benchmark")

#: Two cells that learn nothing and take a moment.
MOMENT = (
    "--preset", "quick", "--task", "cartpole", "--method", "persistence", "--threads", "1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a place for data sets, and no report's figures to wait for."""
    (tmp_path / "minari").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def write_report(folder: Path) -> Path:
        page = folder / "report.html"
        page.write_text(f"{len(list(RowFiles(folder)))} rows")
        return page

    monkeypatch.setattr("persim_gym.experiments.report.page.write_report", write_report)
    return tmp_path


def failing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    run = engines._run

    def fail(cell: Cell, *rest: Any) -> Done:
        if cell.seed == seed:
            return Done(cell, None, "RuntimeError: no luck", "Traceback: no luck\n")
        return run(cell, *rest)

    monkeypatch.setattr(engines, "_run", fail)


# -- running ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_its_report_and_going_on(place: Path) -> None:
    out = Path("runs/benchmark-quick")
    result = invoke(*MOMENT, "--seeds", 1)
    assert result.exit_code == 0, result.output
    assert "1 of 1 cells are in runs/benchmark-quick: 1 run in" in result.stdout
    assert f"next: persim-gym report {out}" in result.stderr
    assert (out / "report.html").read_text() == "1 rows"
    lines = result.stderr.splitlines()
    assert lines[0].startswith("1 cells to run: about ")
    assert lines[1].startswith("[1/1] prediction cartpole persistence seed 0  ")
    more = invoke(*MOMENT)
    assert more.exit_code == 0
    assert "2 of 2 cells are in runs/benchmark-quick: 1 run in" in more.stdout
    assert ", 1 were there" in more.stdout
    assert more.stderr.splitlines()[0].startswith("1 cells to run, 1 are there: about")
    assert more.stderr.splitlines()[1].startswith("[2/2] prediction cartpole persistence seed 1")
    assert [row.cell.seed for row in RowFiles(out)] == [0, 1]
    assert (out / "report.html").read_text() == "2 rows"


@pytest.mark.slow
def test_what_was_asked_for_is_kept(place: Path) -> None:
    invoke(*MOMENT, "--out", "x", "--jobs", 1, "--seeds", 2)
    ledger = read_ledger("x")
    (run,) = ledger["runs"]
    assert run["command"] == (
        "persim-gym benchmark --preset quick --out x --task cartpole --method persistence "
        "--seeds 2 --jobs 1 --threads 1"
    )
    assert (run["preset"], run["device"], run["engine"], run["jobs"]) == (
        "quick",
        "cpu",
        "local",
        1,
    )
    assert (run["done"], run["failed"]) == (2, 0)
    assert run["started"] <= run["ended"]
    assert [cell.seed for cell in wanted_cells("x")] == [0, 1]
    # What is refused is not kept.
    refuse(*MOMENT, "--out", "x", "--device", "abacus", says="device 'abacus'")
    assert read_ledger("x") == ledger


def test_options_reach_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(cells: list[Cell], folder: Path, **options: Any) -> list[Done]:
        asked.update(options, cells=cells, folder=folder)
        options["watch"].begins(cells, 0, 1.0)
        return []

    monkeypatch.setattr("persim_gym.experiments.runner.run_cells", run)
    result = invoke(
        "--preset", "laptop", "--out", "x", "--experiment", "latent,unseen", "--experiment",
        "prediction", "--dataset", "random", "--task", "mountain-car", "--seeds", 3, "--jobs", 7,
        "--engine", "ray", "--device", "cuda:1", "--threads", 2, "--force",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert str(asked["folder"]) == "x"
    given = {name: asked[name] for name in ("jobs", "engine", "device", "threads", "force")}
    assert given == {"jobs": 7, "engine": "ray", "device": "cuda:1", "threads": 2, "force": True}
    cells = asked["cells"]
    assert {cell.experiment for cell in cells} == {"latent", "unseen", "prediction"}
    assert {cell.task for cell in cells} == {"mountain-car"}
    assert {cell.seed for cell in cells} == {0, 1, 2}
    assert {cell.dataset for cell in cells} == {"random", None}
    (run_,) = read_ledger("x")["runs"]
    for words in ("--experiment latent,unseen,prediction", "--engine ray", "--device cuda:1"):
        assert words in run_["command"]


@pytest.mark.slow
def test_force(place: Path) -> None:
    invoke(*MOMENT)
    assert "2 of 2 cells are in runs/benchmark-quick: 0 run" in invoke(*MOMENT).stdout
    assert "2 of 2 cells are in runs/benchmark-quick: 2 run" in invoke(*MOMENT, "--force").stdout


@pytest.mark.slow
def test_a_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        failing(patch, 1)
        result = invoke(*MOMENT, "--out", "x")
    assert result.exit_code == 1
    assert "1 of 2 cells are in x: 1 run in" in result.stdout
    assert ", 1 failed" in result.stdout
    (cell,) = [cell for cell in wanted_cells("x") if cell.seed == 1]
    note = failure_path("x", cell)
    assert result.stderr.splitlines()[-1] == (
        f"failed: {cell.describe()}: RuntimeError: no luck (traceback in {note})"
    )
    first, rest = note.read_text().split("\n", 1)
    assert Cell.from_json(json.loads(first)) == cell
    assert rest == "Traceback: no luck\n"
    assert read_ledger("x")["runs"][0]["failed"] == 1
    listed = invoke(*MOMENT, "--out", "x", "--list").stdout
    assert "2 cells: 1 done, 1 failed, 0 missing" in listed
    again = invoke(*MOMENT, "--out", "x", "--json")
    assert again.exit_code == 0
    assert not note.exists()


def test_many_failures_are_counted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [Done(quick(seed=seed), None, "no", "no\n") for seed in range(13)]
    monkeypatch.setattr(
        "persim_gym.experiments.runner.run_cells",
        lambda cells, *_, watch, **__: watch.begins(cells, 0, 1.0) or failed,
    )
    result = invoke(*MOMENT)
    assert result.exit_code == 1
    assert result.stderr.count("failed: prediction") == 10
    assert "failed: and 3 more: see runs/benchmark-quick/failed" in result.stderr


def test_ctrl_c(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "_run", stopped)
    result = invoke(*MOMENT)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "interrupted: what is done stays in runs/benchmark-quick, and the same command goes on"
    )
    forced = invoke(*MOMENT, "--force")
    assert "the same command without --force goes on" in forced.stderr
    (first, _) = read_ledger("runs/benchmark-quick")["runs"]
    assert first["ended"] is None


@pytest.mark.slow
def test_a_folder_that_makes_no_report(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(folder: Path) -> Path:
        raise ValueError("a row is damaged")

    monkeypatch.setattr("persim_gym.experiments.report.page.write_report", none)
    result = invoke(*MOMENT)
    assert result.exit_code == 0
    assert "note: there is no report: a row is damaged" in result.stderr
    assert "2 of 2 cells" in result.stdout


@pytest.mark.slow
def test_json(place: Path) -> None:
    invoke(*MOMENT, "--seeds", 1)
    result = invoke(*MOMENT, "--json")
    plain = json.loads(result.stdout)
    assert plain.pop("seconds") > 0
    assert plain == {
        "folder": "runs/benchmark-quick", "cells": 2, "there": 1, "done": 1, "failed": [],
        "report": "runs/benchmark-quick/report.html",
    }  # fmt: skip


# -- listing ---------------------------------------------------------------------------------------


def test_the_list_runs_nothing(place: Path) -> None:
    result = invoke("--preset", "quick", "--list")
    assert result.exit_code == 0
    count = len(preset_cells("quick"))
    assert f"{count} cells: 0 done, 0 failed, {count} missing; about" in result.stdout
    assert result.stdout.count("missing") == count + 1
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_the_list_as_json(place: Path) -> None:
    invoke(*MOMENT, "--seeds", 1)
    args = ("--task", "cartpole", "--method", "persistence,persim", "--list", "--json")
    plain = json.loads(invoke(*args).stdout)
    states = {entry["key"]: entry["state"] for entry in plain["cells"]}
    assert list(states.values()).count("done") == 1
    cells = {Cell.from_json(entry["cell"]).key: entry["seconds"] for entry in plain["cells"]}
    assert cells.keys() == states.keys()
    assert sum(cells.values()) == pytest.approx(plain["seconds"])
    assert all((cells[key] == 0) == (state == "done") for key, state in states.items())
    forced = json.loads(invoke(*args, "--force").stdout)
    assert forced["seconds"] > plain["seconds"]


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--preset", "huge"), "unknown preset 'huge': there are quick, laptop, paper"),
        (("--experiment", "guess"), "no cell has experiment 'guess': there are latent, pred"),
        (("--task", "half-cheetah"), "no cell has task 'half-cheetah': there are cartpole, mo"),
        (("--method", "persim,guess"), "no cell has method 'guess': there are one-for-all"),
        (("--planner", "guess"), "no cell has planner 'guess': there are"),
        (("--method", "true", "--experiment", "latent"), "no cell has experiment latent, meth"),
        ((*MOMENT, "--engine", "abacus"), "unknown engine 'abacus': there are local, ray"),
        ((*MOMENT, "--jobs", "0"), "--jobs"),
    ],
)
def test_bad_input(place: Path, args: tuple[str, ...], says: str) -> None:
    refuse(*args, says=says)
    assert not (place / "runs").exists()
