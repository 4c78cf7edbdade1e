"""`persim-gym export`: what is written, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.learned import PerSim
from tests.cli.commands import refuse, run
from tests.learned.worlds import PlainTask, random_walks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("run")
    quick = {"method": "als", "degree": 1, "rank": 1, "threshold": 0.0}
    sim = PerSim.fit(random_walks(PlainTask.of(2, actions=3)), progress=False, **quick)
    sim.save(path)
    return path


def test_a_file_is_written(folder: Path, tmp_path: Path) -> None:
    result = run("export", folder, "--out", tmp_path / "step.py")
    assert str(tmp_path / "step.py") in "".join(result.stderr.split("\n"))
    assert (tmp_path / "step.py").exists()


def test_another_end_is_refused(folder: Path, tmp_path: Path) -> None:
    refuse("export", folder, "--out", tmp_path / "step.txt", says="error: path must end in .onnx")
    assert not list(tmp_path.iterdir())
