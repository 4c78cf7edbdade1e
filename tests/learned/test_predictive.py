"""Intervals and reports of what is predicted."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.learned.noisy_worlds import WORLDS, fitted
from tests.learned.worlds import PlainTask, random_simulator


def test_states_have_narrower_intervals_than_noisy_observations() -> None:
    sim = fitted("both")
    agents, actions = np.arange(4), np.zeros((4, 5, 1), dtype=np.float32)
    obs = np.zeros((4, 2), dtype=np.float32)
    seen, true = (
        np.subtract(*sim.rollout_interval(agents, obs, actions, of=of)[::-1])
        for of in ("observation", "state")
    )
    assert (true < seen).all()
    sim = fitted("process")
    seen, true = (
        sim.rollout_interval(agents, obs, actions, of=of)[0] for of in ("observation", "state")
    )
    np.testing.assert_allclose(seen, true, atol=0.01)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": 0.0}, "level"),
        ({"level": 1.0}, "level"),
        ({"level": np.nan}, "level"),
        ({"of": "mean"}, "of must be"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, says: str) -> None:
    sim = fitted("process")
    with pytest.raises(ValueError, match=says):
        sim.rollout_interval([0], np.zeros((1, 2)), np.zeros((1, 3, 1)), **options)


def test_a_simulator_made_by_hand_says_that_it_knows_no_errors() -> None:
    sim = random_simulator(PlainTask.of(2, actions=3))
    with pytest.raises(ValueError, match="fit it again"):
        sim.rollout_interval([0], np.zeros((1, 2)), np.zeros((1, 3), dtype=np.int64))


def test_a_rollout_that_is_there_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world, sim = WORLDS["process"], fitted("process").view()
    _, seen, actions = world.play(np.arange(world.agents), 8, seed=1)
    given = np.arange(world.agents), seen[:, 2], actions[:, 2:]
    expected, members = sim.rollout_interval(*given), sim.rollout(*given)
    monkeypatch.setattr(sim, "rollout", None)
    np.testing.assert_array_equal(sim.rollout_interval(*given, rollout=members), expected)


def test_a_wider_level_holds_a_narrower_one() -> None:
    sim = fitted("process")
    given = [0, 1], np.zeros((2, 2)), np.zeros((2, 6, 1))
    ends = [sim.rollout_interval(*given, level=level) for level in (0.5, 0.8, 0.95)]
    for (low, high), (lower, higher) in itertools.pairwise(ends):
        assert (lower < low).all()
        assert (high < higher).all()
    mean = sim.rollout(*given).mean(0)
    assert ((ends[0][0] < mean) & (mean < ends[0][1])).all()


def test_a_rollout_of_another_size_is_refused() -> None:
    sim = fitted("process")
    given = [0, 1], np.zeros((2, 2)), np.zeros((2, 6, 1))
    for wrong in (sim.rollout(*given)[:, :1], [[0.0]]):
        with pytest.raises(ValueError, match=r"rollout must be what sim\.rollout gives"):
            sim.rollout_interval(*given, rollout=wrong)
