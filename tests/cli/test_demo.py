"""The command demo."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from persim_gym.cli.demo import _reporters
from persim_gym.cli.output import cell
from persim_gym.demo import run as demo
from persim_gym.demo.forecast import Forecast
from persim_gym.demo.run import STAGES, StageEvent
from persim_gym.envs.suites import find_suite
from tests.cli.commands import invoke, refuse, run


@pytest.mark.slow
def test_demo_runs_keeps_and_ends_with_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = demo.DemoSettings(
        agents=12, fit={"epochs": 2, "ensemble_size": 2}, episodes=6, return_episodes=1,
        plan_episodes=1, plan_steps=5, planner={"candidates": 4, "horizon": 3}, train_steps=20,
        clip_steps=2,
    )  # fmt: skip
    monkeypatch.setattr(demo, "demo_settings", lambda *asked: {("cartpole", True): tiny}[asked])
    args = ["demo", "--task", "cartpole", "--quick", "--out", str(tmp_path / "demo")]
    result = run(*args)
    stages = [line.split()[:2] for line in result.stderr.splitlines()[:-1]]
    assert stages == [[f"[{i}/6]", stage] for i, stage in enumerate(demo.STAGES, start=1)]
    assert (tmp_path / "demo" / "index.html").is_file()
    assert result.stdout.endswith(f"{tmp_path / 'demo' / 'index.html'}\n")
    numbers = json.loads((tmp_path / "demo" / "results.json").read_text())
    errors = numbers["open_loop"]["errors"]["PerSim"]["agents"][3]
    rmse = errors["rmse_of_coordinates"][find_suite("cartpole").headline]
    row = re.search(r"^3 +force 10, length 0.85 +(\S+)", result.stdout, re.MULTILINE)
    assert row is not None
    assert row[1] == cell(rmse)
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    again = run(*args)
    assert [line.split()[2] for line in again.stderr.splitlines()[:5]] == ["kept"] * 5
    assert again.stdout == result.stdout
    refuse(*args, "--seed", "1", says="a demo of other settings")


def test_demo_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    result = invoke("demo", "--out", str(tmp_path))
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: the same command goes on from the last stage")


def test_stages_are_told_with_their_time_and_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = Progress(TextColumn("{task.fields[left]}"), console=Console(file=io.StringIO()))
    on_stage, on_progress = _reporters(bar, Forecast("cartpole", True, 1.0))
    first, second = STAGES[:2]
    on_stage(StageEvent(first, 1, "kept", 0.0, "there"))
    on_stage(StageEvent(second, 2, "started", 0.0, ""))
    on_progress(second, 1, 4)
    assert [(task.completed, task.total) for task in bar.tasks] == [(1, 4)]
    assert "left" in bar.tasks[0].fields["left"]
    on_stage(StageEvent(second, 2, "finished", 3.0, "well"))
    assert bar.tasks == []
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"[1/6] {first:<9}    kept  there  (about ")
    assert lines[1].startswith(f"[2/6] {second:<9}   3.0 s  well  (about ")
