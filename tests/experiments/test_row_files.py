"""Rows on disk: whole or not at all, and missing where they are damaged."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments.row_files import Row, RowFiles
from persim_gym.writing import write_json, write_sealed
from tests.experiments.paper_cells import quick, row_of, tiny

CELL = tiny("reward", planner="default", penalty=0.5)


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


def test_rows_without_a_hash_are_damaged(tmp_path: Path) -> None:
    rows = RowFiles(tmp_path)
    write_json(rows.path(CELL), row_of(CELL).to_json())
    with pytest.warns(UserWarning, match="does not fit its hash"):
        assert not rows.has(CELL)
    rows.write(row_of(CELL))
    assert rows.has(CELL)


def test_a_row_that_is_none() -> None:
    with pytest.raises(ValueError, match="no row of results of format 1"):
        Row.from_json({})
