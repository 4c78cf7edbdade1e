"""What is left of a demo, as it is said on the way."""

from __future__ import annotations

import math

import pytest

from persim_gym.demo.forecast import QUICK, SECONDS, Forecast, pace
from persim_gym.demo.run import STAGES
from persim_gym.envs.suites import SUITES


def test_every_stage_of_every_task_has_its_seconds() -> None:
    assert set(SECONDS) == set(QUICK) == set(SUITES)
    assert all(tuple(own) == STAGES for own in SECONDS.values())


@pytest.mark.parametrize("quick", [False, True])
def test_a_machine_of_half_the_speed_takes_twice_as_long(quick: bool) -> None:
    whole = sum(SECONDS["cartpole"].values()) * (QUICK["cartpole"] if quick else 1)
    assert Forecast("cartpole", quick).left() == pytest.approx(whole)
    assert Forecast("cartpole", quick, 2.0).left() == pytest.approx(2 * whole)


def test_the_run_corrects_the_table() -> None:
    forecast = Forecast("mountain-car", False, 1.0)
    own = SECONDS["mountain-car"]
    for stage in STAGES[:3]:
        forecast.end(stage, 3 * own[stage])
    rest = sum(own[stage] for stage in STAGES[3:])
    assert 2 * rest < forecast.left() < 3 * rest
    forecast.end("plan", None)  # kept: says nothing of the machine
    assert 2 < forecast.left() / (rest - own["plan"]) < 3


def test_a_stage_that_goes_on_shortens_what_is_left() -> None:
    forecast = Forecast("cartpole", False, 1.0)
    for stage in STAGES[:4]:
        forecast.end(stage, SECONDS["cartpole"][stage])
    own = SECONDS["cartpole"]["train"]
    left = [forecast.left("train", share, share * own) for share in (0, 0.01, 0.3, 0.7, 1.0)]
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(SECONDS["cartpole"]["report"])
    # Slower than expected: the stage's own pace counts.
    assert forecast.left("train", 0.5, 2 * own) > left[2]
    # Overdue without a sign of progress: nearly done, but never quite.
    assert 0 < forecast.left("train", 0.0, 100 * own) < left[0]


def test_the_pace_is_a_number() -> None:
    assert math.isfinite(pace())
    assert pace() > 0
