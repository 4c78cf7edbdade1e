"""`persim-gym report`: tables on the terminal, files beside the rows, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.experiments.paper_rows import cell, predicted, rewarded, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        predicted("persim", [0.1, 0.4]),
        predicted("persim", [0.3, 0.3], "pure"),
        predicted("one-for-all", [0.5, 0.5]),
        rewarded("persim", [[1.0], [3.0]]),
        rewarded("random", [[0.0], [2.0]], None),
    ]
    return write(tmp_path / "runs", rows)


@pytest.mark.slow
def test_report(folder: Path) -> None:
    result = run("report", folder)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["random", "PerSim", "0.200", "rad", "0.200", "2"] in lines
    # Nobody was to play with these data.
    assert ["pure", "PerSim", "0.300", "rad", "0.300", "–"] in lines
    assert ["pure", "Pooled", "model", "missing", "missing", "–"] in lines
    assert ["–", "Random", "actions", "–", "–", "1"] in lines
    assert "CartPole: prediction error and return" in result.stdout
    assert str((folder / "report.html").resolve()) in result.stdout
    assert (folder / "results.csv").is_file()
    assert "5 done, 0 failed, 1 missing" in result.stdout


@pytest.mark.slow
def test_table_fits_eighty_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = run("report", folder).stdout.split("Report")[0]
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.slow
def test_out(folder: Path, tmp_path: Path) -> None:
    run("report", folder, "--out", tmp_path / "there")
    assert (tmp_path / "there" / "report.md").is_file()
    assert not (folder / "report.md").exists()


@pytest.mark.slow
def test_json(folder: Path) -> None:
    found = json.loads(run("report", folder, "--json").stdout)
    first = next(own for own in found["main"] if own["dataset"] == "random")
    assert first["rmse"]["mean"] == pytest.approx(0.2)
    assert first["rmse"]["sd"] is None
    assert [own["cells"] for own in found["missing"]] == [
        "prediction, cartpole, pure, Pooled model, 100 agents"
    ]
    assert Path(found["files"]["page"]).is_file()


def test_small(folder: Path) -> None:
    text = run("report", folder, "--small").stdout
    assert "| CartPole | random | PerSim | 0.200 rad | 0.200 | 2 |" in text
    assert "pure" not in text
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("other", [("--json",), ("--out", "x")])
def test_small_stands_alone(folder: Path, other: tuple[str, ...]) -> None:
    result = run("report", folder, "--small", *other, code=2)
    assert f"leave {other[0]} out" in result.stderr


def test_no_rows(tmp_path: Path) -> None:
    result = run("report", tmp_path, code=2)
    assert "has no rows of results" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "does not exist" in run("report", tmp_path / "nowhere", code=2).stderr


def test_damaged_row(folder: Path) -> None:
    path = folder / "rows" / f"{cell('prediction', 'persim').key}.json"
    path.write_text('{"format": 1}')
    result = run("report", folder, code=2)
    assert path.name in result.stderr
    assert "is damaged" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "report.html").exists()
