"""The command explore."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from persim_gym.envs.suites import find_suite
from persim_gym.explorer import server
from persim_gym.explorer.scene import Scene
from tests.cli.commands import invoke, refuse, run
from tests.learned.worlds import random_simulator


def test_without_the_library_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "nicegui":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    result = invoke("explore", "nowhere")
    assert result.exit_code == 2
    assert result.stderr == f"error: {server.MISSING}\n"


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that the browser was asked to open."""
    found: list[str] = []
    monkeypatch.setattr("webbrowser.open", found.append)
    return found


def shown(monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[Scene, Result]:
    """What is served, and what is printed."""
    scenes: list[Scene] = []

    def serve(scene: Scene, listening: Any, started: Any) -> None:
        scenes.append(scene)
        started("http://here")

    monkeypatch.setattr(server, "check_installed", lambda: None)
    monkeypatch.setattr(server, "serve", serve)
    result = run("explore", *words)
    return scenes[0], result


def test_a_simulator_of_own_data_has_no_truth(
    walks: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, result = shown(monkeypatch, walks, "--no-browser")
    assert opened == []
    assert result.stdout == "http://here  (Ctrl-C ends it)\n"
    assert scene.truth is None
    note = "The data set test/plain is not on this machine"
    assert [text.startswith(note) for text in scene.notes] == [True]
    assert result.stderr.startswith(f"note: {note}")


def test_a_simulator_of_a_known_task_has_a_truth_where_its_agents_are_known(
    opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    sim = random_simulator(find_suite("cartpole").task(), agents=3)
    sim.card["dataset"] = {"id": "persim/x-v0", "population": {"size": 3, "seed": 1}}
    scene, _ = shown(monkeypatch, sim.save(tmp_path / "known"))
    assert scene.truth is not None
    assert opened == ["http://here"]
    sim = random_simulator(find_suite("cartpole").task(), agents=600)
    sim.card["dataset"] = {"id": "persim/x-v0"}
    scene, _ = shown(monkeypatch, sim.save(tmp_path / "unknown"))
    assert scene.truth is None
    assert scene.notes[-1].startswith("The truth is not shown: the true covariates of")


def test_data_that_were_asked_for_and_are_not_there_are_refused(
    walks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "check_installed", lambda: None)
    refuse("explore", walks, "--data", "persim/none-v0", says="no local data set")
