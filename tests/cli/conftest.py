"""A data set, a simulator and a policy that commands have made, once for all tests of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where these are kept."""
    folder: Path = tmp_path_factory.mktemp("minari")
    return folder


@pytest.fixture
def shared_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Minari find them."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(store))
    monkeypatch.setenv("COLUMNS", "80")
    return store


def made(store: Path, *words: str) -> str:
    """What a command prints that finds the data sets of the store."""
    from tests.cli.commands import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(store))
        patch.setenv("COLUMNS", "80")
        return run(*words).stdout


@pytest.fixture(scope="session")
def dataset(store: Path) -> str:
    """Six agents of a population of eight that is not the default one."""
    name = "persim/cartpole/small-v0"
    made(
        store, "record", "cartpole", "--agents", "6", "--seed", "1", "--dataset-id", name,
        "--population-size", "8", "--population-seed", "3",
    )  # fmt: skip
    return name


@pytest.fixture(scope="session")
def simulator(store: Path, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of these agents, hardly fitted."""
    from tests.cli.commands import TINY

    folder = str(tmp_path_factory.mktemp("runs") / "cartpole")
    made(store, "fit", dataset, "--out", folder, *TINY)
    return folder


@pytest.fixture(scope="session")
def policy(store: Path, simulator: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Trained in the simulator of agent 3, for a moment."""
    folder = str(tmp_path_factory.mktemp("policies") / "dqn")
    args = ["--agent", "3", "--steps", "80", "--episodes", "2", "--seed", "1", "--out", folder]
    text = made(store, "train", simulator, *args)
    assert re.search(r"^true environment +2 ", text, re.MULTILINE)
    return folder


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulator of the user's own data, of a moment's fit."""
    from persim_gym.learned import PerSim
    from tests.learned.worlds import PlainTask, random_walks

    quick = {"method": "als", "degree": 1, "rank": 1, "threshold": 0.0}
    sim = PerSim.fit(random_walks(PlainTask.of(2, actions=3)), progress=False, **quick)
    return Path(sim.save(tmp_path_factory.mktemp("walks") / "sim"))
