"""Values of policies in worlds where they are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.evaluation.off_policy import OffPolicy, off_policy
from persim_gym.evaluation.off_policy.stretches import recorded_stretches
from persim_gym.evaluation.off_policy.value import OFF_POLICY_RULES
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import EpsilonMixture
from tests.evaluation.off_policy.worlds import REWARD, linear, true_value

STEPS = 10
FIT: dict[str, Any] = {"method": "hierarchical", "degree": 1, "ensemble_size": 1}


@pytest.fixture(scope="module")
def world() -> tuple[Transitions, np.ndarray]:
    return linear(8, 400)


@pytest.fixture(scope="module")
def sim(world: tuple[Transitions, np.ndarray]) -> PerSim:
    return PerSim.fit(world[0], progress=False, **FIT)


def always(dose: float) -> Any:
    return lambda obs: np.full((len(obs), 1), dose, dtype=np.float32)


def always_on(obs: np.ndarray) -> np.ndarray:
    return np.ones(len(obs), np.int64)


def truth(data: Transitions, gain: np.ndarray, dose: float) -> np.ndarray:
    """Each agent's expected value of a dose from its stretches' states ``[N]``."""
    start = recorded_stretches(data, STEPS).start
    agent = data.agent[start]
    value = true_value(data.obs[start, 0].astype(np.float64), gain[agent], dose, STEPS)
    return np.bincount(agent, value) / np.bincount(agent)


def column(found: OffPolicy, name: str) -> np.ndarray:
    return np.array([getattr(own, name) for own in found.agents])


def test_simulation_holds_the_truth_and_fitted_q_is_close(
    world: tuple[Transitions, np.ndarray], sim: PerSim
) -> None:
    data, gain = world
    found = off_policy(sim, data, always(0.8), steps=STEPS)
    true = truth(data, gain, 0.8)
    assert (column(found, "low") < true).all()
    assert (true < column(found, "high")).all()
    np.testing.assert_allclose(column(found, "simulated").mean(), true.mean(), rtol=0.05)
    np.testing.assert_allclose(column(found, "fitted_q").mean(), true.mean(), rtol=0.05)
    # Agents differ, and each has its own value.
    assert np.corrcoef(column(found, "fitted_q"), true)[0, 1] > 0.99
    assert np.corrcoef(column(found, "simulated"), true)[0, 1] > 0.99
    assert found.relied_on
    assert "The two agree on 8 of 8 agents." in found.sentences
    assert found.importance_note.startswith("There is no importance sampling: with which")


def test_a_wrong_simulator_is_off_where_fitted_q_is_not(
    world: tuple[Transitions, np.ndarray], sim: PerSim
) -> None:
    data, gain = world
    factors = torch.roll(sim.ensemble.agent_factors(), 4, dims=1)
    wrong = PerSim.of(dataclasses.replace(sim._parts, ensemble=sim.ensemble.with_factors(factors)))
    found = off_policy(wrong, data, always(0.8), steps=STEPS)
    true = truth(data, gain, 0.8)
    away = np.abs(column(found, "simulated") - true)
    assert (np.abs(column(found, "fitted_q") - true) < away).all()
    assert not found.relied_on
    assert any("do not rely on these values" in text for text in found.sentences)


def test_importance_sampling_is_nearly_unbiased() -> None:
    """Many short stretches, the policy acts more often than the behaviour did."""
    data, gain = linear(1, 12_000, discrete=True, up=0.5)
    sim = PerSim.fit(data.select(data.step < 300), progress=False, **FIT)
    policy = EpsilonMixture(always_on, 0.4)
    found = off_policy(
        sim, data, policy, steps=4, behaviour=lambda obs, a: np.full(len(a), 0.5), episodes=2000
    )
    start = data.obs[recorded_stretches(data, 4).start, 0].astype(np.float64)
    true = true_value(start, gain[:1], 0.8, 4).mean()  # it acts in 4 of 5 steps
    assert found.importance == pytest.approx(true, rel=0.05)
    assert column(found, "fitted_q")[0] == pytest.approx(true, rel=0.05)
    assert 100 < found.effective < found.stretches
    assert "effective stretches of 3,000" in found.sentences[-1]


def test_weights_are_those_computed_by_hand() -> None:
    data, _ = linear(3, 60, discrete=True, up=0.6)
    sim = PerSim.fit(data, progress=False, **FIT)
    found = off_policy(
        sim, data, always_on, steps=3, discount=0.9, behaviour=lambda obs, a: np.full(len(a), 0.5)
    )
    for agent in range(3):
        rows = np.flatnonzero(data.agent == agent).reshape(-1, 3)
        weights = np.cumprod(2.0 * (data.action[rows] == 1), axis=1)
        earned = (weights * data.reward[rows]).sum(0) / weights.sum(0)
        own = found.agents[agent]
        assert own.importance == pytest.approx(earned @ [1, 0.9, 0.81])
        last = weights[:, -1]
        assert own.effective == pytest.approx(last.sum() ** 2 / (last**2).sum())


def test_hold_random_and_a_reward_of_ones_own(
    world: tuple[Transitions, np.ndarray], sim: PerSim
) -> None:
    data, gain = world
    hold = off_policy(sim, data, "hold", steps=STEPS, reward=REWARD)
    usual = np.array([data.action[data.agent == k].mean() for k in range(8)])
    true = [truth(data, gain, dose)[k] for k, dose in enumerate(usual)]
    np.testing.assert_allclose(column(hold, "simulated").mean(), np.mean(true), rtol=0.1)
    np.testing.assert_allclose(column(hold, "fitted_q").mean(), np.mean(true), rtol=0.1)
    assert hold.reward == REWARD
    assert hold.policy == "hold"
    # What the behaviour did is worth what it has earned, by every way.
    same = off_policy(sim, data, "random", steps=STEPS, behaviour="random")
    np.testing.assert_allclose(same.importance, same.mean("recorded"), rtol=0.02)
    np.testing.assert_allclose(same.mean("fitted_q"), same.mean("recorded"), rtol=0.05)
    assert same.effective == pytest.approx(same.stretches)


def test_what_was_never_tried_is_said(world: tuple[Transitions, np.ndarray], sim: PerSim) -> None:
    found = off_policy(sim, world[0], always(3.0), steps=STEPS)
    assert found.outside_actions == 1
    assert not found.relied_on
    assert "100% of the policy's simulated steps take actions outside" in " ".join(found.sentences)
    plain = found.to_json()
    assert plain["rules"] == list(OFF_POLICY_RULES)
    assert plain["agents"][0]["agent"] == "a0"
    again = off_policy(sim, world[0], always(3.0), steps=STEPS)
    assert [own.simulated for own in again.agents] == [own.simulated for own in found.agents]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"policy": "magic"}, ValueError, "unknown behaviour 'magic'"),
        ({"policy": 3}, TypeError, "policy must be"),
        ({"steps": 1000}, ValueError, "no record has a stretch of 1000 steps"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"discount": 0.0}, ValueError, "above 0 and up to 1"),
        ({"reward": "sugar"}, ValueError, "there is no column 'sugar'"),
        ({"behaviour": lambda obs, a: np.zeros(len(a))}, ValueError, "the probability 0"),
        ({"behaviour": lambda obs, a: np.ones(3)}, ValueError, "expected the shape"),
    ],
)
def test_wrong_arguments_are_refused(
    world: tuple[Transitions, np.ndarray],
    sim: PerSim,
    arguments: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        off_policy(sim, world[0], **{"policy": "hold", **arguments})


def test_data_without_a_reward_need_one() -> None:
    data, _ = linear(3, 30, reward=False)
    sim = PerSim.fit(data, progress=False, **FIT)
    with pytest.raises(ValueError, match="reward"):
        off_policy(sim, data, "hold")
    assert off_policy(sim, data, "hold", reward=REWARD).mean("recorded") > 0
