"""A step of all members for environments: compiled and in torch, of rows and of one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.stepping.member_steps import MemberSteps
from tests.learned.worlds import PlainTask, random_simulator

TASK = PlainTask.of(2, actions=3, low=-0.5)
N = 16
AGENTS, ACTIONS = np.arange(N) % 4, np.arange(N) % 3
STATES = np.random.default_rng(0).uniform(-0.5, 0.5, (N, 2))
KEPT = np.arange(N) % 3


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return random_simulator(TASK)


@pytest.mark.parametrize("propagation", ["mean", "fixed_member"])
def test_steps_are_the_members_predictions(sim: PerSim, propagation: str) -> None:
    steps = MemberSteps(sim, propagation)
    members = sim.predict_members(AGENTS, STATES, ACTIONS)
    expected = members.mean(0) if propagation == "mean" else members[KEPT, np.arange(N)]
    apart = sim.disagreement(AGENTS, STATES, ACTIONS)
    for way in (steps.rows, steps._in_torch):
        found = way(AGENTS, STATES, ACTIONS, KEPT)
        np.testing.assert_allclose(found.next_obs, expected, atol=1e-5)
        np.testing.assert_allclose(found.deviation, apart, rtol=1e-3)
        assert found.clipped.max() > 0, "some run into a bound"
        assert found.clipped.min() == 0, "and some do not"


def test_one_row_is_that_of_many_or_is_left_to_them(sim: PerSim) -> None:
    steps = MemberSteps(sim, "fixed_member")
    rows = steps.rows(AGENTS, STATES, ACTIONS, KEPT)
    plain = 0
    for row in range(N):
        found = steps.row(int(AGENTS[row]), STATES[row].tolist(), int(ACTIONS[row]), int(KEPT[row]))
        if found is None:
            continue
        plain += 1
        assert rows.clipped[row] == 0
        np.testing.assert_allclose(found[0], rows.next_obs[row], atol=1e-5)
        assert found[1] == pytest.approx(rows.deviation[row], rel=1e-3)
    assert 0 < plain < N


def test_what_is_compiled_is_not_copied(sim: PerSim) -> None:
    steps = MemberSteps(sim, "mean")
    first = steps.rows(AGENTS, STATES, ACTIONS, KEPT).next_obs
    assert steps._compiled[1] is not None
    again = pickle.loads(pickle.dumps(steps))
    assert again._compiled == (None, None)
    found = again.rows(AGENTS, STATES, ACTIONS, KEPT)
    np.testing.assert_array_equal(found.next_obs, first)
