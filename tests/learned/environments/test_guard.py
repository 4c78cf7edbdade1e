"""When the guard stops, and what it costs to be unsure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.environments.guard import SUPPORT_MARGIN, GuardedSimulator
from tests.learned.worlds import PlainTask, random_simulator

TASK = PlainTask.of(2, actions=3)
STATES = np.array([[0.0, 0.0], [0.5, -0.5], [9.0, 0.0]])  # the last is far from all that was seen


def simulator(limit: float = math.inf) -> PerSim:
    sim = random_simulator(TASK)
    experience = replace(sim.experience, disagreement_limit=limit)
    return PerSim(sim.ensemble, sim.task, experience, sim.card)


def advance(guarded: GuardedSimulator, states: Any = STATES) -> Any:
    rng = np.random.default_rng(0)
    n = len(states)
    kept = guarded.begin(n, rng)
    return guarded.advance(np.zeros(n, dtype=np.int64), states, np.arange(n) % 3, kept, rng)


def test_it_stops_off_the_support() -> None:
    found = advance(GuardedSimulator(simulator()))
    edge = 1 + 2 * SUPPORT_MARGIN
    off = (np.abs(found.next_obs) > edge).any(axis=1)
    assert off.tolist() == found.stop.tolist() == [False, False, True]
    assert (found.info["guard"] == "support").tolist() == off.tolist()
    assert advance(GuardedSimulator(simulator(), guard=False)).stop is None


def test_it_stops_where_members_disagree() -> None:
    sure = advance(GuardedSimulator(simulator()), STATES[:2]).info["disagreement"]
    limit = float(sure.mean())
    found = advance(GuardedSimulator(simulator(limit)), STATES[:2])
    assert found.stop.tolist() == (sure > limit).tolist()
    assert (found.info["guard"] == "disagreement").tolist() == (sure > limit).tolist()


def test_what_is_not_finite_stops_even_without_the_guard() -> None:
    far = np.array([[0.0, 0.0], [1e38, 1e38]])
    found = advance(GuardedSimulator(simulator(), guard=False), far)
    assert np.isfinite(found.next_obs).all()
    lost = found.info["guard"] == "non-finite"
    assert lost.tolist() == found.stop.tolist() == [False, True]


def test_the_penalty_is_the_disagreement_s() -> None:
    found = advance(GuardedSimulator(simulator(), penalty=2.0), STATES[:2])
    np.testing.assert_allclose(found.penalty, 2.0 * found.info["disagreement"])
    assert advance(GuardedSimulator(simulator())).penalty is None
    assert {"reward_raw", "penalty"} <= GuardedSimulator(simulator(), penalty=2.0).quiet_info.keys()


def test_one_row_is_one_of_many() -> None:
    guarded = GuardedSimulator(simulator(), penalty=0.5)
    found = advance(guarded)
    for row, state in enumerate(STATES):
        one = guarded.advance_row(0, state.tolist(), row % 3, 0, np.random.default_rng(0))
        np.testing.assert_allclose(one.next_obs, found.next_obs[row], rtol=1e-5, atol=1e-6)
        assert one.reason == found.info["guard"][row]
        assert one.penalty == pytest.approx(found.penalty[row], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"propagation": "median"}, ValueError, "propagation"),
        ({"guard": 1}, TypeError, "guard must be True or False"),
        ({"penalty": -1.0}, ValueError, "penalty"),
        ({"strict": True}, ValueError, "which actions were recorded"),
        ({"propagation": "sample"}, ValueError, "no noise of its data"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        GuardedSimulator(simulator(), **options)
