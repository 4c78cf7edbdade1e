"""Fitted-Q evaluation where the value is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.off_policy.fitted_q import fitted_q
from persim_gym.evaluation.off_policy.target_policy import Decider
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask


def test_fitted_q_is_the_value_of_a_chain_that_ends() -> None:
    """A walk that ends at 1: reward 1 a step, so that the value is the expected length."""
    rng = np.random.default_rng(0)
    ends = rng.random(2000) < 0.25
    ends[-1] = True
    episode = np.cumsum(np.append(0, ends[:-1]))
    obs = np.zeros((2000, 1))
    data = Transitions(
        agent=np.zeros(2000, int), episode=episode, obs=obs, next_obs=ends[:, None] * 1.0,
        action=rng.integers(0, 2, 2000), reward=np.ones(2000), terminated=ends,
        truncated=np.zeros(2000), num_agents=1, task_name="chain",
    )  # fmt: skip
    sim = PerSim.fit(data, progress=False, method="hierarchical", degree=1, ensemble_size=1)
    decider = Decider("random", sim.task, data)
    parts = (np.zeros(1, int), 200, 1.0, np.zeros(1), 2, rng)
    assert fitted_q(data, data.reward, decider, *parts)[0] == pytest.approx(
        1 / ends.mean(), rel=0.02
    )


def test_each_agent_has_its_own_value_and_a_short_record_is_near_the_others() -> None:
    """A step earns what the agent is: 0, 1, 2; a fourth has one transition, which earned 9."""
    agent = np.append(np.repeat(np.arange(3), 50), 3)
    reward = np.append(np.repeat([0.0, 1.0, 2.0], 50), 9.0)
    data = steps_of(agent, reward)
    decider = Decider("hold", PlainTask.of(1, actions=2), data)
    starts = np.array([0, 50, 100, 150])
    parts = (np.zeros(1), 2, np.random.default_rng(0))
    found = fitted_q(data, reward, decider, starts, 4, 1.0, *parts)
    np.testing.assert_allclose(found[:3], [0.0, 4.0, 8.0], atol=1.0)
    assert 4.0 < found[3] < 36.0


def test_no_value_is_beyond_what_the_rewards_make() -> None:
    """Each step leads five times as far out, where a quadratic function knows no limit."""
    data = steps_of(np.zeros(60, int), np.linspace(-1.0, 2.0, 60))
    out = np.linspace(-1.0, 1.0, 60)[:, None].astype(np.float32)
    data = dataclasses.replace(data, obs=out, next_obs=5 * out)
    decider = Decider("hold", PlainTask.of(1, actions=2), data)
    for discount in (1.0, 0.5):
        reach = sum(discount**k for k in range(10))
        found = fitted_q(
            data, data.reward, decider, np.arange(60), 10, discount, np.zeros(1), 2,
            np.random.default_rng(0),
        )  # fmt: skip
        assert -2 * reach < found.min() < found.max() < 3 * reach


def steps_of(agent: np.ndarray, reward: np.ndarray) -> Transitions:
    """Transitions that stay where they are, each agent's one episode."""
    n = len(agent)
    obs = np.random.default_rng(0).normal(size=(n, 1))
    return Transitions(
        agent=agent, episode=agent, obs=obs, next_obs=obs, action=np.arange(n) % 2, reward=reward,
        terminated=np.zeros(n), truncated=np.zeros(n), num_agents=int(agent.max()) + 1,
        task_name="still",
    )  # fmt: skip
