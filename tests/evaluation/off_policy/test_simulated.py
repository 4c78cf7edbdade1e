"""Simulated episodes of a policy: who is followed, what is counted, and when they end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.evaluation.off_policy.simulated import Simulated, simulate
from persim_gym.evaluation.off_policy.target_policy import Decider
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_simulator, random_walks

TASK = PlainTask.of(2, actions=3)
AGENTS = np.array([0, 1, 2, 3, 0, 1])
STATES = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> Transitions:
    return random_walks(TASK)


def simulated(
    sim: PerSim, data: Transitions, task: Any = TASK, steps: int = 3, discount: float = 1.0
) -> Simulated:
    """Where the policy always takes action 1."""
    decider = Decider(lambda obs: np.ones(len(obs), np.int64), task, data)
    rng = np.random.default_rng(1)
    return simulate(sim, task, decider, AGENTS, AGENTS, STATES, steps, discount, rng)


def by_hand(sim: PerSim, steps: int, discount: float) -> NDArray[np.float64]:
    """Returns of every member ``[M, n]``."""
    actions = np.ones((len(AGENTS), steps), np.int64)
    path = np.asarray(sim.rollout(AGENTS, STATES, actions))
    return np.asarray((-(path**2).sum(-1) * discount ** np.arange(steps)).sum(-1))


def test_an_episode_is_one_members_and_all_are_used_alike(data: Transitions) -> None:
    sim = random_simulator(TASK)
    found, members = simulated(sim, data, discount=0.9), by_hand(sim, 3, 0.9)
    used = np.abs(found.returns - members).argmin(0)
    np.testing.assert_allclose(found.returns, members[used, np.arange(6)], rtol=1e-4)
    assert np.bincount(used).tolist() == [2, 2, 2]
    assert found.steps.tolist() == [3] * 6


def test_what_leads_outside_of_the_recorded_range_is_counted(data: Transitions) -> None:
    sim = random_simulator(TASK, members=1, size=0.6)
    path = np.asarray(sim.rollout(AGENTS, STATES, np.ones((6, 6), np.int64)))[0]
    expected = (np.abs(path) > 1).any(-1).sum(-1)  # its record is from -1 to 1
    assert simulated(sim, data, steps=6).states.tolist() == expected.tolist()
    assert expected.max() > 1
    assert expected.min() < 6
    assert not simulated(sim, data).outside.any()  # nothing is known of actions


@dataclasses.dataclass(frozen=True)
class Ending(PlainTask):
    """Over at once for a first coordinate above 0."""

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] > 0


def test_an_episode_ends_with_its_task(data: Transitions) -> None:
    sim = random_simulator(TASK, members=1)
    path = np.asarray(sim.rollout(AGENTS, STATES, np.ones((6, 5), np.int64)))[0]
    over = path[..., 0] > 0
    expected = np.where(over.any(1), over.argmax(1) + 1, 5)
    found = simulated(sim, data, Ending(), steps=5)
    assert found.steps.tolist() == expected.tolist()
    assert 1 in expected


def test_a_prediction_that_is_lost_has_no_return(data: Transitions) -> None:
    sim = random_simulator(TASK, members=1)
    scaling = dataclasses.replace(
        sim.ensemble.scaling, target_scale=sim.ensemble.scaling.target_scale * np.inf
    )
    lost = PerSim(type(sim.ensemble)(sim.ensemble.network, scaling), TASK, sim.experience, sim.card)
    found = simulated(lost, data)
    assert np.isnan(found.returns).all()
    assert found.steps.tolist() == [1] * 6
