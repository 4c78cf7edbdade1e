from __future__ import annotations

from collections.abc import Iterator

import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.explorer.record import Record
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.truth import Truth
from persim_gym.learned import PerSim
from tests.evaluation.worlds import random_transitions
from tests.explorer.worlds import fitted, patients, scene_of


@pytest.fixture(scope="session")
def patient_sim() -> PerSim:
    return fitted(patients())


@pytest.fixture(scope="session")
def scene(patient_sim: PerSim) -> Scene:
    """Patients, with their record."""
    return scene_of(patient_sim, patients())


@pytest.fixture(scope="session")
def bare(patient_sim: PerSim) -> Scene:
    """Patients, whose record has been moved."""
    return scene_of(patient_sim, None)


@pytest.fixture(scope="session")
def carts(cartpole: PerSim) -> Scene:
    """CartPoles: discrete actions, and the truth."""
    suite = SUITES["cartpole"]
    truth = Truth(suite, suite.population())
    return Scene(cartpole, Record(cartpole, random_transitions("cartpole", 12, 40)), truth)


@pytest.fixture
def client() -> Iterator[None]:
    """A browser that nobody looks at: what is made belongs to it."""
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")
    from nicegui import Client, ui

    with Client(ui.page("")):
        yield
