"""The hub, played by a folder: what is put there comes back, and without a network one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persim_gym import hub
from persim_gym.learned import PerSim
from tests.learned.worlds import PlainTask, random_walks

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")

QUICK: dict[str, Any] = {"method": "als", "degree": 1, "rank": 1, "threshold": 0.0}


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return PerSim.fit(random_walks(PlainTask.of(2, actions=3)), progress=False, **QUICK)


def test_a_simulator_goes_and_comes(folder_hub: Path, sim: PerSim, tmp_path: Path) -> None:
    assert hub.push_simulator(sim, "me/walks") == "https://hub/me/walks"
    assert "me/walks" in (folder_hub / "me" / "walks" / "README.md").read_text()
    there = hub.pull_simulator("me/walks")
    kept = hub.pull_simulator("me/walks", tmp_path / "kept")
    for other in (there, kept):
        assert other.ensemble.tensors().keys() == sim.ensemble.tensors().keys()
        assert (other.latent_factors == sim.latent_factors).all()
    assert (tmp_path / "kept" / "README.md").exists()


def test_no_folder_of_this_machine_is_shared(folder_hub: Path, tmp_path: Path) -> None:
    rows = [
        f"{who},{t},{t * 0.1 + k},{(t + k) % 2}" for k, who in enumerate("ab") for t in range(30)
    ]
    table = tmp_path / "patients.csv"
    table.write_text("\n".join(["who,t,x,dose", *rows]))
    columns = {"agent": "who", "time": "t", "state": ["x"], "action": ["dose"]}
    sim = PerSim.fit(table, columns=columns, progress=False, **QUICK)
    assert sim.card["source"]["path"] == str(table)
    hub.push_simulator(sim, "me/patients")
    for file in (folder_hub / "me" / "patients").iterdir():
        assert str(tmp_path) not in file.read_text("latin-1")
    assert hub.pull_simulator("me/patients").card["source"]["path"] == "patients.csv"


def test_what_is_no_simulator_is_refused(folder_hub: Path) -> None:
    (folder_hub / "me" / "other").mkdir(parents=True)
    with pytest.raises(ValueError, match="me/other holds no simulator"):
        hub.pull_simulator("me/other")


@pytest.mark.parametrize("name", ["walks", "a/b/c", "/b"])
def test_a_wrong_name_is_refused_before_any_work(name: str, sim: PerSim) -> None:
    with pytest.raises(ValueError, match="repository must be"):
        hub.push_simulator(sim, name)


@pytest.mark.parametrize("bad", [5, 1j, "", b"x", [1]], ids=repr)
@pytest.mark.parametrize("name", ["sim", "repository", "private", "token", "revision"])
def test_wrong_arguments_put_nothing_there(
    name: str, bad: Any, folder_hub: Path, sim: PerSim
) -> None:
    given = {"sim": sim, "repository": "me/walks"} | {name: bad}
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
        hub.push_simulator(**given)
    assert not folder_hub.exists()


@pytest.mark.parametrize("name", ["folder", "token", "revision"])
def test_wrong_arguments_fetch_nothing(name: str, folder_hub: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
        hub.pull_simulator("me/none", **{name: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["persim/cartpole/random-v0", "hf://me", "hf://"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address must be hf://OWNER/DATASET"):
        hub.pull_dataset(address)


def test_without_the_extra_the_remedy_is_said(sim: PerSim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'persim-gym\[hub\]'"):
        hub.push_simulator(sim, "me/walks")
