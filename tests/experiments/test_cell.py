"""Cells and rows: names stable and distinct, files that are whole or as good as missing."""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments.cell import Cell
from persim_gym.experiments.ledger import note_end, note_start, read_ledger, wanted_cells
from persim_gym.experiments.row_files import Row, RowFiles
from persim_gym.writing import write_json, write_sealed
from tests.experiments.paper_cells import quick, row_of, tiny

CELL = tiny("reward", planner="default", penalty=0.5)

#: Another value of each field.
OTHER: dict[str, Any] = {
    "experiment": "prediction",
    "task": "mountain-car",
    "dataset": "pure",
    "method": "one-for-all",
    "seed": 1,
    "agents": (0, 2),
    "train_agents": 26,
    "episodes": 3,
    "max_episode_steps": 6,
    "planner": "paper",
    "penalty": 0.6,
    "fit": (("degree", 3),),
}


# -- cells -----------------------------------------------------------------------------------------


def test_a_key_depends_on_every_field() -> None:
    assert set(OTHER) == {field.name for field in fields(Cell)}
    keys = {name: replace(CELL, **{name: value}).key for name, value in OTHER.items()}
    assert len({CELL.key, *keys.values()}) == len(OTHER) + 1


def test_a_key_is_stable_and_tells_what_it_is() -> None:
    # Written down: rows of an earlier version must be found by a later one.
    assert CELL.key == "reward_cartpole_random_persim_default_n25_s0_82befe1ff0"
    assert quick(seed=3, train_agents=500).key.startswith("prediction_cartpole_persistence_s3_")
    assert set(CELL.key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_options_of_a_fit_have_no_order() -> None:
    one = tiny(fit=(("rank", 2), ("state_hidden", [8, 8])))
    other = tiny(fit=(("state_hidden", (8, 8)), ("rank", 2)))
    assert one == other
    assert one.key == other.key
    assert hash(one) == hash(other)


@pytest.mark.parametrize("cell", [CELL, quick(), tiny("unseen"), tiny(fit=(("hidden", [8, 8]),))])
def test_json_and_back(cell: Cell) -> None:
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert again == cell
    assert again.key == cell.key


def test_what_is_fitted_together() -> None:
    same = ("experiment", "agents", "episodes", "max_episode_steps", "planner", "penalty")
    for name, value in OTHER.items():
        other = replace(CELL, **{name: value})
        assert (other.fit_key == CELL.fit_key) == (name in same), name
    assert quick().fit_key is None


def test_repeats_are_one_group() -> None:
    assert replace(CELL, seed=4).group == CELL
    assert replace(CELL, seed=4, episodes=3).group != CELL


def test_in_words() -> None:
    assert CELL.describe() == "reward cartpole random persim default 25 agents seed 0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"experiment": "guess"}, "unknown experiment 'guess': there are prediction"),
        ({"task": "pendulum"}, "unknown task 'pendulum': there are"),
        ({"dataset": "expert"}, "unknown data set 'expert': there are pure"),
        ({"agents": ()}, "one or more different ones"),
        ({"agents": (1, 1)}, "one or more different ones"),
        ({"agents": (-1,)}, "an agent must be at least 0"),
        ({"agents": (0, 25)}, "agent 25 is judged but not among the 25 agents"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"train_agents": 0}, "train_agents must be at least 1"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1"),
        ({"penalty": -0.1}, "penalty must be a number of at least 0"),
        ({"penalty": float("nan")}, "penalty must be a number"),
    ],
)
def test_cells_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(CELL, **changes)


def test_unseen_agents_are_of_the_population() -> None:
    assert tiny("unseen", agents=(499,)).population_size == 500
    with pytest.raises(ValueError, match="the population has 500 agents"):
        tiny("unseen", agents=(500,))


@pytest.mark.parametrize("changes", [{"seed": 1.0}, {"episodes": True}, {"agents": ("0",)}])
def test_numbers_are_whole(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        replace(CELL, **changes)


@pytest.mark.parametrize("changes", [{"agents": 3}, {"fit": [1]}, {"colour": "red"}])
def test_json_that_is_no_cell(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"list of agents|options by name|unexpected keyword"):
        Cell.from_json({**CELL.to_json(), **changes})


# -- rows ------------------------------------------------------------------------------------------


def test_a_row_comes_back(tmp_path: Path) -> None:
    rows, row = RowFiles(tmp_path), row_of(CELL)
    assert not rows.has(CELL)
    assert list(rows) == []
    path = rows.write(row)
    assert path == tmp_path / "rows" / f"{CELL.key}.json"
    assert rows.has(CELL)
    assert list(rows) == [row]
    rows.write(row_of(quick()))
    assert {own.cell for own in rows} == {CELL, quick()}
    rows.delete(CELL)
    rows.delete(CELL)
    assert [own.cell for own in rows] == [quick()]


def test_a_row_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = RowFiles(tmp_path)
    rows.write(row_of(CELL))

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("persim_gym.files.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        rows.write(row_of(CELL, seconds={"run": 9.0}))
    assert [row.seconds for row in rows] == [{"run": 0.5}]
    assert len(list(rows.folder.iterdir())) == 1


def damage(path: Path, how: str) -> None:
    text = path.read_text()
    if how == "truncated":
        path.write_text(text[: len(text) // 2])
    elif how == "empty":
        path.write_text("")
    elif how == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif how == "foreign":
        path.write_text("[1, 2]")
    elif how == "newer format":
        write_json(path, {**json.loads(text), "format": 2})
    elif how == "no results":
        write_json(path, {**json.loads(text), "results": None})
    elif how == "another cell":
        write_json(path, row_of(quick()).to_json())
    elif how == "altered number":
        path.write_text(text.replace("0.5", "0.7"))
    elif how == "altered name of the hash":
        path.write_text(text.replace('"sha256"', '"sha257"'))
    elif how == "nested too deep":
        path.write_text("[" * 100_000)
    elif how == "unknown field":
        plain = json.loads(text)
        write_json(path, {**plain, "cell": {**plain["cell"], "colour": "red"}})


@pytest.mark.parametrize(
    "how",
    [
        "truncated", "empty", "binary", "foreign", "newer format", "no results", "another cell",
        "unknown field", "altered number", "altered name of the hash", "nested too deep",
    ],
)  # fmt: skip
def test_a_damaged_row_is_as_missing_and_said_to_be_damaged(tmp_path: Path, how: str) -> None:
    rows = RowFiles(tmp_path)
    damage(rows.write(row_of(CELL)), how)
    with pytest.warns(UserWarning, match=f"{CELL.key}.json is damaged .* counts as missing"):
        assert not rows.has(CELL)
    with pytest.raises(ValueError, match=f"{CELL.key}.json is damaged .*: delete it and run"):
        list(rows)
    rows.write(row_of(CELL))
    assert rows.has(CELL)


def test_no_turned_bit_passes(tmp_path: Path) -> None:
    rows = RowFiles(tmp_path)
    path = rows.write(row_of(CELL))
    content, whole = path.read_bytes(), json.loads(path.read_text())
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 150, replace=False).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            passes = rows.has(CELL)
        # Only what makes no difference: 1e5 or 1E5.
        assert passes is not bool(warned)
        assert not passes or json.loads(path.read_text()) == whole


@pytest.mark.parametrize("value", [None, "x", [], {"a": 1}, True, -1, 10**400, [[]]])
@pytest.mark.parametrize("name", ["cell", "results", "seconds", "versions", "machine", "format"])
def test_a_row_of_wrong_types_is_missing_and_never_raises(
    tmp_path: Path, name: str, value: Any
) -> None:
    """With no hash, as in rows of older versions, and with one that fits."""
    rows = RowFiles(tmp_path)
    plain = row_of(CELL).to_json()
    for field in (None, *(CELL.to_json() if name == "cell" else ())):
        changed = {**plain, name: value if field is None else {**plain[name], field: value}}
        for write in (write_json, write_sealed):
            write(rows.path(CELL), changed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows.has(CELL)
            with contextlib.suppress(ValueError):  # of which another test says what it says
                list(rows)


def test_rows_without_a_hash_pass_with_a_mark(tmp_path: Path) -> None:
    rows = RowFiles(tmp_path)
    write_json(rows.path(CELL), row_of(CELL).to_json())
    assert rows.has(CELL)
    assert [row.sealed for row in rows] == [False]
    rows.write(row_of(CELL))
    assert [row.sealed for row in rows] == [True]


def test_a_row_that_is_none() -> None:
    with pytest.raises(ValueError, match="no row of results of format 1"):
        Row.from_json({})


# -- what a folder is meant to hold ----------------------------------------------------------------


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


def test_equal_penalties_have_one_key() -> None:
    whole, half = (
        Cell(experiment="reward", task="cartpole", dataset=None, method="true", penalty=penalty)
        for penalty in (1, 1.0)
    )
    assert whole.key == half.key
