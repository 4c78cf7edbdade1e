"""Simulators by their folders: each file is read once as long as it is unchanged."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from persim_gym import checks, store
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.parts import Parts
from persim_gym.learned.saving.files import read_simulator


def as_dynamics(simulator: LearnedDynamics | str | Path) -> LearnedDynamics:
    """A simulator as it came, or what predicts of the one in a folder."""
    if isinstance(simulator, LearnedDynamics):
        return simulator
    return LearnedDynamics(parts_in(simulator))


def parts_in(folder: str | Path) -> Parts:
    """The parts of the simulator in a folder, or in a file.

    Raises:
        FileNotFoundError: If there is none.
        TypeError: If it is no path.
        ValueError: If the file is truncated, altered, foreign or of a newer format.
    """
    if not isinstance(folder, (str, Path)):
        raise TypeError(f"simulator must be a PerSim or the folder of one, got {folder!r}")
    path = checks.as_path("simulator", folder)
    file = path if path.suffix == ".safetensors" else path / store.SIMULATOR
    stamp = file.stat().st_mtime_ns if file.exists() else 0
    return _read(str(path.resolve()), stamp)


@lru_cache(maxsize=8)
def _read(path: str, stamp: int) -> Parts:
    return read_simulator(Path(path))
