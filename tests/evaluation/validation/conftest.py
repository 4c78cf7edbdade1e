"""A simulator of patients, and what came of its validation."""

from __future__ import annotations

import pytest

from persim_gym.evaluation.validation import Validation
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import FIT, patients


@pytest.fixture(scope="session")
def data() -> Transitions:
    return patients(12, 45, noise=0.2)


@pytest.fixture(scope="session")
def sim(data: Transitions) -> PerSim:
    return PerSim.fit(data, progress=False, **FIT)


@pytest.fixture(scope="session")
def good(sim: PerSim, data: Transitions) -> Validation:
    return sim.validate(data, splits=("ends", "agents"), horizons=(1, 5))
