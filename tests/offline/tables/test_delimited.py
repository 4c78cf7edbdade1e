"""Text files whose columns and decimals are separated by one sign or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.offline.tables.reading import read_table_report
from persim_gym.offline.tables.sources import columns_in
from tests.offline.worlds import read, table

COLUMNS = {"agent": "who", "time": "t", "state": "x", "action": "u"}


def written(path: Path, separator: str, decimal: str = ".", **changes: Any) -> Path:
    table().assign(**changes).to_csv(path, sep=separator, decimal=decimal, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_separates_columns_is_found(separator: str, name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, separator)
    assert columns_in(path) == list(table().columns)
    assert read(path).sha256() == read(table()).sha256()


def test_decimal_commas_are_read_where_semicolons_separate_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", ";", ",")
    assert ",5" in path.read_text()
    assert read(path).sha256() == read(table()).sha256()
    assert read(path, decimal=",").sha256() == read(table()).sha256()
    with pytest.raises(ValueError, match=r"is no number; write decimal points"):
        read(path, decimal=".")


def test_a_decimal_sign_can_be_given(tmp_path: Path) -> None:
    path = written(tmp_path / "t.tsv", "\t", ",")
    with pytest.raises(ValueError, match=r"write decimal points, or .* give decimal=','"):
        read(path)
    found = read(path, decimal=",")
    assert found.sha256() == read(table()).sha256()
    assert found.source is not None
    assert found.source["columns"]["decimal"] == ","  # another table is read in the same way
    quoted = written(tmp_path / "t.csv", ",", ",")
    assert read(quoted, decimal=",").sha256() == found.sha256()
    with pytest.raises(ValueError, match=r"decimal must be .*, got ';'"):
        read(path, decimal=";")


@pytest.mark.parametrize("wrong", ["1.5", "1.234,5", "many"])
def test_other_numbers_among_decimal_commas_are_refused(wrong: str, tmp_path: Path) -> None:
    level = [wrong, *("0,5" for _ in range(len(table()) - 1))]
    path = written(tmp_path / "t.csv", ";", ",", x=level)
    with pytest.raises(ValueError, match=f"{wrong!r} is no number with a decimal comma"):
        read(path)


def test_a_header_with_other_signs_is_read_as_its_columns_say(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a;"b, in mg";c|d\n1;2,5;3\n')
    assert columns_in(path) == ["a", "b, in mg", "c|d"]


def test_discrete_actions_that_nobody_has_declared_are_noted(tmp_path: Path) -> None:
    doses = table(u=np.arange(len(table())) % 3)
    found, report = read_table_report(doses, **COLUMNS)
    assert report.counted_off
    sim = PerSim.fit(found, method="als", degree=1, rank=1, ensemble_size=1)
    (note,) = [n for n in sim.card["metrics"]["notes"] if "discrete actions" in n]
    assert note in str(report)
    assert "notes" not in sim.card["source"]
    said = PerSim.fit(
        read_table_report(doses, **COLUMNS, discrete_actions=True)[0],
        method="als", degree=1, rank=1, ensemble_size=1,
    )  # fmt: skip
    assert not any("discrete actions" in n for n in said.card["metrics"]["notes"])
