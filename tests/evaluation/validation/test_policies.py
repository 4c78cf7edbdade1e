"""A policy's value as a part of a validation."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.evaluation.off_policy import off_policy
from persim_gym.evaluation.validation.policies import AskedPolicy, policy_value
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions

REWARD = "-abs(next.glucose - 100)"


def asked(**changes: Any) -> AskedPolicy:
    given = {"policy": "hold", "reward": REWARD, "steps": 5, "behaviour": None, "seed": 0}
    return AskedPolicy(**{**given, **changes})


def no_fit(part: Transitions) -> PerSim:
    raise AssertionError("there is a simulator")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"reward": "sugar"}, "there is no column 'sugar'"),
        ({"policy": "magic"}, "unknown behaviour 'magic'"),
        ({"behaviour": lambda obs, a: 0.0 * a[:, 0]}, "the probability 0"),
    ],
)
def test_what_is_invalid_is_refused_before_any_work(
    sim: PerSim, data: Transitions, changes: Any, says: str
) -> None:
    asked().check(sim.task, data)
    with pytest.raises(ValueError, match=says):
        asked(**changes).check(sim.task, data)


def test_without_a_task_only_steps_can_be_checked(data: Transitions) -> None:
    asked(policy="magic").check(None, data)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        asked(steps=0).check(None, data)


def test_a_value_is_that_of_the_library(sim: PerSim, data: Transitions) -> None:
    found = policy_value(sim, data, no_fit, asked())
    expected = off_policy(sim, data, "hold", steps=5, reward=REWARD, seed=0).to_json()
    assert found["mean"] == expected["mean"]


def test_data_without_a_simulator_are_fitted(sim: PerSim, data: Transitions) -> None:
    fitted: list[Transitions] = []

    def refit(part: Transitions) -> PerSim:
        fitted.append(part)
        return sim

    found = policy_value(None, data, refit, asked())
    assert fitted == [data]
    assert "failed" not in found


def test_where_data_allow_no_value_it_is_said_why(sim: PerSim, data: Transitions) -> None:
    found = policy_value(sim, data, no_fit, asked(steps=1000))
    assert found["failed"].startswith("no record has a stretch of 1000 steps")
    assert found["sentences"] == [f"The policy has no value: {found['failed']}"]
