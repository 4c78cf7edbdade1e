"""The tasks that there are, and their facts."""

from __future__ import annotations

import pytest

from persim_gym.envs import SUITES, Suite
from persim_gym.envs.suites import coordinate_names, find_suite, suite_of
from tests.learned.worlds import PlainTask


def test_coordinates_of_other_tasks_are_numbered() -> None:
    assert coordinate_names("walker", 2) == ("coordinate 0", "coordinate 1")
    assert coordinate_names("cartpole", 1) == ("coordinate 0",)


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_task_is_found_by_either_name_and_by_itself(suite: Suite) -> None:
    assert find_suite(suite.name) is find_suite(suite.env_id) is suite_of(suite.task()) is suite


def test_other_tasks_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'walker': .*PerSim-CartPole-v0"):
        find_suite("walker")
    with pytest.raises(ValueError, match="only mountain-car, cartpole, half-cheetah have one"):
        suite_of(PlainTask())
