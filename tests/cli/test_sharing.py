"""The commands hub push and hub pull."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym import hub
from persim_gym.learned import PerSim
from tests.cli.commands import invoke, refuse, run


def test_a_simulator_is_pushed_and_pulled(folder_hub: Path, walks: Path, tmp_path: Path) -> None:
    back = str(tmp_path / "back")
    assert run("hub", "push", walks, "me/walks").stderr.startswith("shared: https://hub/me/walks")
    taken = run("hub", "pull", "me/walks", "--out", back).stderr
    assert taken.splitlines()[-1] == f"next: persim-gym validate {back} --out {back}-trust"
    assert PerSim.load(back).num_agents == PerSim.load(walks).num_agents


def test_a_data_set_is_pushed_and_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    address = "hf://me/persim/cartpole/random-v0"
    monkeypatch.setattr(hub, "push_dataset", lambda *given: (asked.append(given), address)[1])
    monkeypatch.setattr(hub, "pull_dataset", lambda *given: (asked.append(given), "own-v0")[1])
    pushed = run("hub", "push", "persim/cartpole/random-v0", "me").stderr.splitlines()
    assert pushed == [f"shared: {address}", f"next: persim-gym hub pull {address}"]
    pulled = run("hub", "pull", address).stderr.splitlines()
    assert pulled == ["taken: own-v0", "next: persim-gym datasets show own-v0"]
    assert asked == [("persim/cartpole/random-v0", "me"), (address,)]


def test_a_simulator_needs_a_place() -> None:
    refuse("hub", "pull", "me/walks", says="a simulator needs a place: give --out FOLDER")


def test_without_a_network_one_line_says_so(folder_hub: Path) -> None:
    result = invoke("hub", "pull", "me/nothing", "--out", "x")
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") == 1
    assert "the hub was not reached or refused (no network)" in result.stderr
