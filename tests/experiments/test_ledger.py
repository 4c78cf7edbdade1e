"""What a folder is meant to hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.experiments.ledger import note_end, note_start, read_ledger, wanted_cells
from persim_gym.writing import write_json
from tests.experiments.paper_cells import quick, tiny

CELL = tiny("reward", planner="default", penalty=0.5)


def test_the_ledger_keeps_commands_and_cells(tmp_path: Path) -> None:
    assert wanted_cells(tmp_path) == []
    first = note_start(tmp_path, [CELL], command="one", preset="quick")
    second = note_start(tmp_path, [quick(), CELL], command="two", preset="laptop")
    note_end(tmp_path, first, seconds=1.5, done=1, failed=0)
    assert (first, second) == (0, 1)
    assert wanted_cells(tmp_path) == [CELL, quick()]
    runs = read_ledger(tmp_path)["runs"]
    assert [(run["command"], run["preset"]) for run in runs] == [
        ("one", "quick"),
        ("two", "laptop"),
    ]
    assert runs[0]["done"] == 1
    assert runs[0]["ended"] is not None
    assert runs[1]["ended"] is None  # stopped, or still at it


def test_a_ledger_that_was_deleted_meanwhile_stays_so(tmp_path: Path) -> None:
    run = note_start(tmp_path, [CELL], command="one")
    (tmp_path / "benchmark.json").unlink()
    note_end(tmp_path, run, seconds=1.5, done=1, failed=0)
    assert read_ledger(tmp_path)["runs"] == []


def test_cells_of_another_version_are_not_wanted(tmp_path: Path) -> None:
    note_start(tmp_path, [CELL], command="one")
    ledger = read_ledger(tmp_path)
    ledger["cells"] |= {"other": {**CELL.to_json(), "colour": "red"}, "key": quick().to_json()}
    write_json(tmp_path / "benchmark.json", ledger)
    assert wanted_cells(tmp_path) == [CELL]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_ledger(tmp_path: Path, text: str) -> None:
    (tmp_path / "benchmark.json").write_text(text)
    with pytest.raises(ValueError, match=r"benchmark.json is (damaged|no list of runs)"):
        wanted_cells(tmp_path)
