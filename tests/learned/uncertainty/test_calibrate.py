"""Intervals of few agents, of places where no record has been, and beyond the recorded steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.fitting.families import Setting
from persim_gym.learned.fitting.fit import fit_by, record_of
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.fitting.progress import FitReport
from persim_gym.learned.uncertainty.calibrate import LEVELS, calibrate
from persim_gym.learned.uncertainty.intervals import Unseen, students
from tests.learned.noisy_worlds import OBSERVED, PROCESS, TASK, LinearWorld, fitted, inside


def test_few_independent_errors_widen_as_student_s_distribution() -> None:
    """Quantiles of its tables, at 0.8 and 0.95."""
    at = [LEVELS.index(0.8), LEVELS.index(0.95)]
    for independent, table in ((5, (1.533, 2.776)), (11, (1.372, 2.228)), (121, (1.289, 1.980))):
        expected = np.array(table) / [1.2816, 1.9600] * np.sqrt(1 + 1 / independent)
        np.testing.assert_allclose(students(independent)[at], expected, rtol=0.03)
    assert (np.diff(students(2)) > 0).all()
    assert (students(1) > students(5)).all()


@cache
def few(seed: int, agents: int = 3, steps: int = 30) -> tuple[LinearWorld, PerSim]:
    world = LinearWorld(agents=agents, process=PROCESS, observed=OBSERVED)
    options = {"method": "hierarchical", "degree": 1, "progress": False}
    return world, PerSim.fit(world.record(steps, seed), task=TASK, **options)


@pytest.mark.slow
def test_intervals_of_three_agents_hold_as_much() -> None:
    """On average over records: with three agents a single one may be unlucky."""
    for steps in (1, 7):
        found = [
            inside(few(seed)[1], few(seed)[0], "observation", 0.95, steps) for seed in range(6)
        ]
        assert 0.93 < np.mean(found) < 0.999, steps
        assert min(found) > 0.85, steps


@pytest.mark.slow
def test_intervals_beyond_the_recorded_steps_are_extrapolated_and_the_card_says_so() -> None:
    world, sim = few(1, agents=40, steps=12)
    assert sim.uncertainty.intervals.calibrated_steps == 10
    assert sim.card["metrics"]["intervals_calibrated_to"] == 10
    for steps in (5, 40):
        assert 0.92 < inside(sim, world, "observation", 0.95, steps) < 0.995, steps
    whole = fitted("both")
    assert whole.card["metrics"]["intervals_calibrated_to"] >= 50
    # A fit that nothing was kept from has nothing to extrapolate by, and says how far it goes.
    given = [0], np.zeros((1, 2)), np.zeros((1, 60, 1))
    low, high = sim.rollout_interval(*given)
    assert (high - low)[0, 59].min() >= (high - low)[0, 9].min()


class Unstable(LinearWorld):
    """Errors grow by a factor in every step, and go on to do so beyond the record."""

    def play(self, agents, steps, seed):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(seed)
        rate = 1.02 + 0.04 * np.random.default_rng(0).random(self.agents)[agents]
        x = np.zeros((len(agents), steps + 1, 2))
        x[:, 0] = rng.uniform(-1, 1, (len(agents), 2))
        actions = rng.uniform(-1, 1, (len(agents), steps, 1))
        for t in range(steps):
            noise = 0.02 * rng.standard_normal((len(agents), 2))
            x[:, t + 1] = rate[:, None] * x[:, t] + actions[:, t] * [0.3, 0.1] + noise
        return x, x, actions


@pytest.mark.slow
def test_what_grows_without_end_is_followed_beyond_the_record() -> None:
    world = Unstable()
    options = {"method": "hierarchical", "degree": 1, "progress": False}
    sim = PerSim.fit(world.record(12, 1), task=TASK, **options)
    agents = np.repeat(np.arange(world.agents), 20)
    _, seen, actions = world.play(agents, 30, seed=7)
    low, high = sim.rollout_interval(agents, seen[:, 0], actions)
    held = ((seen[:, 1:] >= low) & (seen[:, 1:] <= high)).mean((0, 2))
    assert held[0] > 0.92
    assert (held[[9, 29]] > 0.87).all()  # 0.83 without what two fits differ
    width = np.median(high - low, axis=0)
    assert (width[29] > 2 * width[9]).all()


@dataclass
class Lost:
    """An ensemble whose predictions leave the numbers after some steps."""

    ensemble: Ensemble
    after: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ensemble, name)

    def unroll(self, *given: Any) -> Iterator[torch.Tensor]:
        for step, obs in enumerate(self.ensemble.unroll(*given)):
            yield obs if step < self.after else obs * torch.nan


def test_widths_are_measured_as_far_as_predictions_are_numbers() -> None:
    world, sim = few(1, agents=40, steps=30)
    record = record_of(Data(world.record(30, 1), TASK), 1)

    def found(after: int) -> Any:
        lost: Any = Lost(sim.ensemble, after)
        return calibrate(lost, record, None, np.zeros(2), seed=0)

    assert found(0) is None
    intervals, _ = found(7)
    assert intervals.steps.tolist() == [1, 2, 5]
    assert intervals.calibrated_steps == 5
    np.testing.assert_array_equal(intervals.quantiles, found(99)[0].quantiles[:3])


@dataclass
class Astray:
    """An ensemble that goes astray once an observation has been above a limit."""

    ensemble: Ensemble
    limit: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ensemble, name)

    def unroll(self, *given: Any) -> Iterator[torch.Tensor]:
        above: Any = False
        for obs in self.ensemble.unroll(*given):
            yield obs + 100.0 * above
            above = above | (obs[..., :1].mean(0, keepdim=True) > self.limit)


@pytest.mark.slow
def test_two_fits_are_not_compared_after_an_episode_s_end() -> None:
    world, sim = few(1, agents=40, steps=30)
    record = record_of(Data(world.record(30, 1), TASK), 1)
    ending = replace(record, over=lambda obs: obs[:, 0] > 0.4)

    def found(given: Any, other: Any) -> Any:
        unseen = Unseen(other, np.arange(0))
        return calibrate(sim.ensemble, given, unseen, np.zeros(2), seed=0)[0].quantiles

    astray: Any = Astray(sim.ensemble, 0.4)
    assert (found(record, astray)[3:, :, -1] > 2 * found(record, sim.ensemble)[3:, :, -1]).all()
    np.testing.assert_array_equal(found(ending, astray), found(ending, sim.ensemble))


@pytest.mark.parametrize("method", ["hierarchical", "als"])
def test_closed_forms_are_compared_with_fits_that_miss_a_stretch_anywhere(method: str) -> None:
    """Not with one that knows no end of an episode."""
    data = Data(LinearWorld(agents=12, process=PROCESS).record(72, 1), TASK)
    plan = plan_fit("own", method=method, options={"degree": 1, "ensemble_size": 2})
    again = fit_by(data, plan, Setting(torch.device("cpu"), FitReport())).again
    assert again is not None
    agent, place = np.divmod(again.rows, 72)
    assert np.bincount(agent).tolist() == [12] * 12
    assert (np.bincount(place, minlength=72) >= 1).all()
