"""The command datasets import."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest

from persim_gym.offline import read_transitions
from tests.cli import commands
from tests.offline.worlds import trajectory


@pytest.fixture
def path(tmp_path: Path, root: Path) -> Path:
    """Two trajectories, as the authors write them."""
    file = tmp_path / "cartPole_mix_0.2_0.pkl"
    file.write_bytes(pickle.dumps([trajectory(3, 1), trajectory(2, 0)]))
    return file


@pytest.mark.slow
def test_a_file_becomes_a_data_set(path: Path) -> None:
    run = functools.partial(commands.run, "datasets", "import", str(path))
    given = ("--task", "cartpole")
    assert "persim/imported/cartpole-pure-eps-20-v0" in run(*given).stdout
    again = run(*given, code=2)
    assert again.stderr.startswith("error: data set 'persim/imported/cartpole-pure-eps-20-v0' exi")
    run(*given, "--force", "--format", "parquet")
    other = run(*given, "--dataset-id", "mine-v0")
    assert "mine-v0" in other.stdout
    assert len(read_transitions("mine-v0")) == 5
    wrong = run("--task", "mountain-car", code=2)
    assert "4 numbers, 'mountain-car' has 2" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
    run(code=2)  # without a task
    path.write_bytes(b"cos\nsystem\n.")
    assert "asks for os.system" in run(*given, "--force", code=2).stderr
    assert len(read_transitions("persim/imported/cartpole-pure-eps-20-v0")) == 5
    path.unlink()
    assert "No such file" in run(*given, "--force", code=2).stderr


def test_what_a_file_may_become_and_take_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = functools.partial(commands.run, "datasets", "import", str(path), "--task", "cartpole")
    assert "becomes more than 100 B" in run("--max-bytes", "100", code=2).output
    done = run("--max-bytes", "9000000")
    name = "persim/imported/cartpole-pure-eps-20-v0"
    assert done.stdout.startswith(f"{name}\n")
    assert done.stderr.splitlines()[-1] == f"next: persim-gym fit {name} --out runs/cartpole"
