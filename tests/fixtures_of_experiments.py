"""What the tests of the benchmark room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.experiments.recordings import missing_recordings
from persim_gym.learned.simulator import PerSim
from tests.evaluation.worlds import random_transitions
from tests.experiments.paper_cells import tiny


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps its data sets during a test."""
    folder = tmp_path / "minari"
    folder.mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def cartpole() -> PerSim:
    """A simulator of twelve CartPoles, hardly fitted."""
    return PerSim.fit(
        random_transitions("cartpole", 12, 40),
        epochs=8, ensemble_size=2, spare_members=0, state_hidden=(16,), progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def cheetah() -> PerSim:
    """A simulator of two HalfCheetahs, not worth the name."""
    return PerSim.fit(
        random_transitions("half-cheetah", 2, 20),
        epochs=1, ensemble_size=2, rank=2, state_hidden=(8,), action_hidden=(8,), progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where random CartPoles of seed 0 are recorded, for tests that write no other data set."""
    folder = tmp_path_factory.mktemp("recordings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        for recording in missing_recordings([tiny()]):
            recording.run(progress=False)
    return folder


@pytest.fixture
def recorded(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Minari find them."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(recordings))
    return recordings
