"""`persim-gym export`: what is written, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from tests.cli.commands import refuse, run


def test_a_file_is_written(walks: Path, tmp_path: Path) -> None:
    result = run("export", walks, "--out", tmp_path / "step.py")
    assert str(tmp_path / "step.py") in "".join(result.stderr.split("\n"))
    assert (tmp_path / "step.py").exists()


def test_another_end_is_refused(walks: Path, tmp_path: Path) -> None:
    refuse("export", walks, "--out", tmp_path / "step.txt", says="error: path must end in .onnx")
    assert not list(tmp_path.iterdir())
