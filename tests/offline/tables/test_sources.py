"""Where tables may come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from persim_gym.offline.tables.sources import columns_in
from tests.offline.worlds import read, table


def test_files(tmp_path: Path) -> None:
    expected = read(table()).sha256()
    table().to_parquet(tmp_path / "patients.parquet")
    table().to_csv(tmp_path / "patients.csv", index=False)
    for name in ("patients.parquet", "patients.csv"):
        for path in (tmp_path / name, str(tmp_path / name)):
            t = read(path)
            assert t.sha256() == expected
            assert t.task_name == "patients"
    assert read(tmp_path / "patients.csv", name="other").task_name == "other"


def test_tables_of_other_libraries() -> None:
    import pyarrow

    assert read(pyarrow.Table.from_pandas(table())).sha256() == read(table()).sha256()


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no table at nowhere\.csv"):
        read("nowhere.csv")
    with pytest.raises(ValueError, match=r"must end in \.parquet or \.csv, got 'table\.xlsx'"):
        read("table.xlsx")
    with pytest.raises(TypeError, match=r"a table is the path .* got list"):
        read([1, 2, 3])
    for name in ("broken.parquet", "empty.csv"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=f"{name} can not be read"):
            read(tmp_path / name)
    with pytest.raises(ValueError, match="the file is empty"):
        read(tmp_path / "empty.csv")


def test_columns_of_a_file(tmp_path: Path) -> None:
    names = list(table().columns)
    table().to_csv(tmp_path / "t.csv", index=False)
    table().to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    table().to_parquet(tmp_path / "t.parquet", index=False)
    for file in ("t.csv", "t.tsv", "t.parquet"):
        assert columns_in(tmp_path / file) == names


@pytest.mark.slow
def test_pandas_is_loaded_by_tables_alone() -> None:
    code = "import sys, persim_gym.offline; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("lacking", ["pandas", "pyarrow"])
def test_a_missing_library_is_named(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table().to_parquet(tmp_path / "t.parquet")

    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(ImportError, match=r"pip install 'persim-gym\[tables\]'"):
        read(tmp_path / "t.parquet")
