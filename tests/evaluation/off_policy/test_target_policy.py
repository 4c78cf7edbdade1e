"""How a policy acts on recorded rows, and with which probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.off_policy.target_policy import (
    Decider,
    behaviour_probability,
    checked_probability,
    uniform,
    usual_actions,
)
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import EpsilonMixture
from tests.learned.worlds import PlainTask


@pytest.mark.parametrize(
    ("name", "least", "most"), [("random", 0.5, 0.5), ("pure-eps-20", 0.1, 0.9)]
)
def test_recorded_behaviours_of_this_package_are_known(
    name: str, least: float, most: float
) -> None:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(60, 4)) * 0.05
    data = Transitions(
        agent=np.repeat(np.arange(6), 10), episode=np.repeat(np.arange(6), 10), obs=obs,
        next_obs=obs, action=rng.integers(0, 2, 60), reward=np.ones(60), terminated=np.zeros(60),
        truncated=np.zeros(60), num_agents=6, task_name="cartpole",
        dataset_id=f"persim/cartpole/{name}-v0",
    )  # fmt: skip
    task = SUITES["cartpole"].task()
    found = behaviour_probability(None, task, data)
    assert found is not None
    assert (found.min(), found.max()) == pytest.approx((least, most))
    if name != "random":
        # As the policies that made such data would act, each agent's own.
        pure = Decider("pure", task, data).actions(data.agent, data.obs, rng)
        np.testing.assert_allclose(found, np.where(pure == data.action, most, least))
    unknown = dataclasses.replace(data, dataset_id="mine/data-v0")
    assert behaviour_probability(None, task, unknown) is None


DISCRETE, CONTINUOUS = PlainTask.of(1, actions=3), PlainTask.of(1, action_dim=2)


def acted(actions: list[Any], agents: list[int]) -> Transitions:
    """What agents did, each in one episode."""
    n, obs = len(agents), np.zeros((len(agents), 1))
    return Transitions(
        agent=np.array(agents), episode=np.array(agents), obs=obs, next_obs=obs,
        action=np.array(actions), reward=np.zeros(n), terminated=np.zeros(n),
        truncated=np.zeros(n), num_agents=max(agents) + 1, task_name="plain",
    )  # fmt: skip


def test_to_hold_is_to_keep_to_the_usual_action() -> None:
    data = acted([2, 2, 0, 1, 0, 1, 1], [0, 0, 0, 2, 2, 2, 2])
    decider = Decider("hold", DISCRETE, data)
    assert usual_actions(data, DISCRETE)[[0, 2]].tolist() == [2, 1]
    rng = np.random.default_rng(0)
    assert decider.actions(np.array([2, 0]), np.zeros((2, 1), np.float32), rng).tolist() == [1, 2]
    assert (decider.name, decider.random) == ("hold", False)
    mean = usual_actions(acted([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], [0, 0, 1]), CONTINUOUS)
    assert mean.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    rows = np.arange(7)
    chances = decider.probability(data.agent[rows], data.obs[rows], data.action[rows])
    assert chances is not None
    assert chances.tolist() == [1, 1, 0, 1, 0, 1, 1]


def test_a_mixture_strays_as_often_as_it_says() -> None:
    data = acted([0] * 6000, [0] * 6000)
    policy = EpsilonMixture(lambda obs: np.full(len(obs), 2), 0.3)
    decider, rng = Decider(policy, DISCRETE, data), np.random.default_rng(0)
    taken = decider.actions(data.agent, data.obs, rng)
    shares = np.bincount(taken, minlength=3) / len(taken)
    assert shares == pytest.approx([0.1, 0.1, 0.8], abs=0.02)
    chances = decider.probability(data.agent[:3], data.obs[:3], np.array([0, 1, 2]))
    assert chances == pytest.approx([0.1, 0.1, 0.8])
    assert decider.random


def test_what_draws_its_actions_has_no_probabilities_unless_it_says_so() -> None:
    rng = np.random.default_rng(0)
    data = acted([0, 1, 2] * 10, [0] * 30)
    drawing = Decider(lambda obs: rng.integers(0, 3, len(obs)), DISCRETE, data)
    assert drawing.probability(data.agent, data.obs, data.action) is None

    class Told:
        def predict(self, obs: Any, *_: Any, **__: Any) -> Any:
            return np.zeros(len(obs), np.int64), None

        def probability(self, obs: Any, actions: Any) -> Any:
            return np.full(len(obs), 0.25)

    told = Decider(Told(), DISCRETE, data).probability(data.agent, data.obs, data.action)
    assert told is not None
    assert told.tolist() == [0.25] * 30
    still = Decider(lambda obs: np.zeros((len(obs), 2)), CONTINUOUS, acted([[0.0, 0.0]], [0]))
    assert still.probability(np.zeros(1, int), np.zeros((1, 1)), np.zeros((1, 2))) is None


def test_uniform_draws_have_one_density() -> None:
    assert uniform(Discrete(4)) == 0.25
    low = np.array([0.0, -1.0], dtype=np.float32)
    assert uniform(Box(low, np.array([2.0, 3.0], dtype=np.float32))) == 1 / 8
    assert uniform(Box(low, np.array([2.0, -1.0], dtype=np.float32))) == 0.5  # one that stays


@pytest.mark.parametrize("found", [[0.5], [0.5, -0.1], [0.5, np.nan], [[0.5, 0.5]]], ids=str)
def test_what_is_no_probability_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match=r"a finite number of 0 or more for each row"):
        checked_probability(lambda obs, actions: found, np.zeros((2, 1)), np.zeros(2))


def test_a_behaviour_cannot_have_done_what_it_never_does() -> None:
    data = acted([0, 1, 2], [0, 0, 0])
    with pytest.raises(ValueError, match="transition 2 the probability 0, and it was taken"):
        behaviour_probability(lambda obs, a: np.array([0.5, 0.5, 0.0]), DISCRETE, data)
    assert behaviour_probability(None, DISCRETE, data) is None
