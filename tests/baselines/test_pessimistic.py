"""Episodes of a pessimistic dynamics: each follows a member, and halts where members disagree."""

from __future__ import annotations

import math

import numpy as np

from persim_gym.baselines.pessimistic import PessimisticDynamics
from tests.learned.worlds import PlainTask, random_simulator

N = 12
AGENTS = np.zeros(N, dtype=np.int64)
STATES = np.random.default_rng(0).uniform(-1, 1, (N, 2))
ACTIONS = np.arange(N) % 3
KEPT = np.arange(N) % 3
RNG = np.random.default_rng(0)
MODEL = random_simulator(PlainTask.of(2, actions=3))


def test_an_episode_follows_its_member() -> None:
    known = PessimisticDynamics(MODEL, math.inf, 1.0)
    members = MODEL.predict_members(AGENTS, STATES, ACTIONS)
    found = known.advance(AGENTS, STATES, ACTIONS, KEPT, RNG)
    np.testing.assert_allclose(found.next_obs, members[KEPT, np.arange(N)], atol=1e-6)
    assert found.halt is not None
    assert not found.halt.any()
    assert set(known.begin(100, RNG).tolist()) == {0, 1, 2}


def test_it_halts_with_the_penalty_beyond_the_limit() -> None:
    members = MODEL.predict_members(AGENTS, STATES, ACTIONS) / MODEL.experience.change_scale
    pairs = [np.linalg.norm(members[i] - members[j], axis=1) for i in range(3) for j in range(i)]
    apart = np.max(pairs, axis=0)
    limit = float(np.median(apart))
    found = PessimisticDynamics(MODEL, limit, 7.0).advance(AGENTS, STATES, ACTIONS, KEPT, RNG)
    np.testing.assert_allclose(found.info["discrepancy"], apart, rtol=1e-4)
    assert found.halt is not None
    assert found.halt.tolist() == (apart > limit).tolist()
    assert found.penalty is not None
    assert found.penalty.tolist() == np.where(found.halt, 7.0, 0.0).tolist()
    assert (found.info["guard"] == "disagreement").tolist() == found.halt.tolist()


def test_what_is_not_finite_halts_where_it_was() -> None:
    states = STATES.copy()
    states[3] = np.inf
    found = PessimisticDynamics(MODEL, math.inf, 1.0).advance(AGENTS, states, ACTIONS, KEPT, RNG)
    assert (found.info["guard"] == "non-finite").tolist() == [row == 3 for row in range(N)]
    assert np.isinf(found.info["discrepancy"][3])
