"""Settings of the whole test run, made before any test module is imported.

The package is imported by the fixtures: the process that hands tests out to others needs it not.
"""

from __future__ import annotations

import ctypes.util
import gc
import itertools
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# MuJoCo chooses its OpenGL backend when it is imported, pygame its display when it is first used:
# without a screen the one draws through EGL (where its library is there, for MuJoCo cannot be
# imported otherwise) and the other into the void.
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
    if ctypes.util.find_library("EGL"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

# Tests write thousands of files and folders: where memory has room for them, none waits for a disk.
if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

# What a library compiles for its first call takes longer than a test's few calls.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

import pytest

if TYPE_CHECKING:
    from persim_gym.learned import PerSim

# Without it every process spends its first five seconds on the test modules that pytest rewrites.
sys.dont_write_bytecode = False

# Nothing that is imported or collected becomes garbage: until all is there, none is looked for.
gc.disable()

_NUMBERS = itertools.count()


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays to the end of the run."""
    import torch

    gc.freeze()
    gc.enable()
    # Processes that run tests beside each other would otherwise fight for the same cores.
    torch.set_num_threads(1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """A window leaves pygame's video system up; the next test shall find it as a program does."""
    if "pygame" in sys.modules:
        sys.modules["pygame"].display.quit()


#: Efforts of a user's fit, and smaller ones that tests have where it does not matter how good
#: networks of rewards and ends, and intervals, are.
SMALLER = {
    "persim_gym.learned.outcomes.heads.STEPS": 40,
    "persim_gym.learned.uncertainty.calibrate.FAR": 10,
    "persim_gym.learned.uncertainty.calibrate.STARTS": 100,
    "persim_gym.learned.uncertainty.new_episodes.EPISODES": 50,
    "persim_gym.learned.uncertainty.new_episodes.BEFORE": 10,
    "persim_gym.learned.posterior.calibration.AGENTS": 60,
}


@pytest.fixture(scope="session", autouse=True)
def usual_efforts() -> Iterator[dict[str, int]]:
    """Efforts are smaller; what a user's are is given to tests for which it matters."""
    from pkgutil import resolve_name

    usual = {name: resolve_name(name) for name in SMALLER}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALLER.items():
            patch.setattr(name, value)
        yield usual


@pytest.fixture
def all_steps(usual_efforts: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of rewards and ends are trained to the end."""
    name = "persim_gym.learned.outcomes.heads.STEPS"
    monkeypatch.setattr(name, usual_efforts[name])


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skip where MuJoCo cannot draw; asked of MuJoCo itself, so that no mistake of ours skips."""
    import mujoco

    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception as error:
        pytest.skip(f"this machine has no OpenGL: {error}")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a test's own; pytest's looks through all that there are, and makes a link."""
    folder = tmp_path_factory.getbasetemp() / f"test-{next(_NUMBERS)}"
    folder.mkdir(0o700)
    return folder


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the package logs during a test, from level INFO."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("persim_gym"), Collect()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps its data sets during a test."""
    folder = tmp_path / "minari"
    folder.mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def cartpole() -> PerSim:
    """A simulator of twelve CartPoles, hardly fitted."""
    from persim_gym.learned import PerSim
    from tests.evaluation.worlds import random_transitions

    return PerSim.fit(
        random_transitions("cartpole", 12, 40),
        epochs=8, ensemble_size=2, spare_members=0, state_hidden=(16,), progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def cheetah() -> PerSim:
    """A simulator of two HalfCheetahs, not worth the name."""
    from persim_gym.learned import PerSim
    from tests.evaluation.worlds import random_transitions

    return PerSim.fit(
        random_transitions("half-cheetah", 2, 20),
        epochs=1, ensemble_size=2, rank=2, state_hidden=(8,), action_hidden=(8,), progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where random CartPoles of seed 0 are recorded, for tests that write no other data set."""
    from persim_gym.experiments.recordings import missing_recordings
    from tests.experiments.paper_cells import tiny

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


@pytest.fixture
def folder_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that plays the Hugging Face hub."""
    library = pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
    from tests.folder_hub import FolderHub

    FolderHub.root = tmp_path / "hub"
    monkeypatch.setattr(library, "HfApi", FolderHub)
    return FolderHub.root
