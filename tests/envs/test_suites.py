"""The suites: what is known of each task under its name."""

from __future__ import annotations

import pytest

from persim_gym.envs import SUITES, Suite
from persim_gym.envs.suites import coordinate_names


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_every_coordinate_has_a_name_of_its_own(suite: Suite) -> None:
    d = suite.task().observation_space.shape[0]
    assert len(suite.coordinates) == len(set(suite.coordinates)) == d
    assert coordinate_names(suite.name, d) == suite.coordinates


def test_coordinates_of_unknown_tasks_are_numbered() -> None:
    assert coordinate_names("mine", 2) == ("coordinate 0", "coordinate 1")
    assert coordinate_names("cartpole", 3) == tuple(f"coordinate {i}" for i in range(3))
