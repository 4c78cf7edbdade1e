"""MOReL: unknown states halt with the penalty, known ones do not; a policy that stays in them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.baselines import MOReL
from persim_gym.baselines.model_config import MOReLConfig
from persim_gym.baselines.morel import largest_discrepancy, penalty_of
from persim_gym.envs.guard import REASONS
from persim_gym.evaluation.returns import episode_returns
from persim_gym.offline.transitions import Transitions
from tests.baselines.context_worlds import TASK, HiddenGain, recorded, transitions

TINY: dict[str, Any] = {
    "updates": 200, "batch_size": 64, "hidden": (16,), "policy_hidden": (8,), "lanes": 4,
    "policy_steps": 50, "imitation": 1,
}  # fmt: skip
WORLD = HiddenGain(np.array([1.0]))


def fit(data: Transitions, **options: Any) -> MOReL:
    return MOReL.fit(data, task=TASK, progress=False, **{**TINY, **options})


@pytest.fixture(scope="module")
def fitted() -> MOReL:
    """On 400 transitions within [-3, 3]."""
    return fit(recorded(HiddenGain(np.ones(8)), 50))


def advance(model: MOReL, states: NDArray[Any], seed: int = 0) -> Any:
    n, rng = len(states), np.random.default_rng(seed)
    pessimistic = model.pessimistic
    kept = pessimistic.begin(n, rng)
    actions = np.zeros((n, 1))
    return pessimistic.advance(np.zeros(n, dtype=np.int64), states, actions, kept, rng), kept


@pytest.mark.slow
def test_the_limit_is_the_largest_pairwise_discrepancy_on_the_data(fitted: MOReL) -> None:
    data = recorded(HiddenGain(np.ones(8)), 50)
    members = fitted.dynamics.predict_members(data.agent, data.obs, data.action)
    scale = fitted.dynamics.experience.change_scale
    largest = 0.0
    for i in range(len(members)):
        for j in range(i):
            apart = (members[i] - members[j]) / scale
            largest = max(largest, float(np.sqrt((apart**2).sum(1)).max()))
    assert fitted.card["facts"]["limit"] == pytest.approx(largest, rel=1e-4)
    limits = [fit(data, pessimism=p, policy_steps=1).card["facts"]["limit"] for p in (1.0, 4.0)]
    assert limits[1] == pytest.approx(limits[0] / 4)
    assert largest_discrepancy(fitted.pessimistic, data) == pytest.approx(largest, rel=1e-4)


def test_unknown_states_end_with_the_penalty_and_known_ones_do_not(fitted: MOReL) -> None:
    data = recorded(HiddenGain(np.ones(8)), 50)
    known = data.obs[::40].astype(np.float64)
    unknown = np.array([[300.0, -200.0], [-500.0, 100.0]])
    found, _ = advance(fitted, np.concatenate([known, unknown]))
    assert not found.halt[: len(known)].any()
    assert found.halt[len(known) :].all()
    assert found.penalty.tolist()[: len(known)] == [0.0] * len(known)
    penalty = fitted.card["facts"]["penalty"]
    assert penalty > 1
    assert found.penalty.tolist()[len(known) :] == [penalty, penalty]
    assert not found.stop.any()


@pytest.mark.parametrize("shell", ["scalar", "vector"])
def test_the_shells_terminate_in_halt(fitted: MOReL, shell: str) -> None:
    far, near = np.array([300.0, -200.0]), np.array([0.2, 0.1])
    penalty = fitted.card["facts"]["penalty"]
    for state, halts in ((far, True), (near, False)):
        env: Any = fitted.env() if shell == "scalar" else fitted.vector_env(2)
        _, quiet = env.reset(seed=0, options={"state": state})
        action = np.zeros(env.action_space.shape, dtype=np.float32)
        _, reward, terminated, truncated, info = env.step(action)
        first = {name: np.ravel(value)[0] for name, value in info.items()}
        assert set(quiet) == set(info)
        assert bool(np.all(terminated)) is halts
        assert not np.any(truncated)
        assert float(first["guard"]) == (REASONS.index("disagreement") if halts else 0)
        assert first["penalty"] == (penalty if halts else 0.0)
        assert np.ravel(reward)[0] == pytest.approx(first["reward_raw"] - first["penalty"])


def test_an_episode_follows_one_member(fitted: MOReL) -> None:
    states = np.tile([[0.5, -0.3]], (200, 1))
    found, kept = advance(fitted, states)
    assert set(kept.tolist()) == {0, 1, 2, 3}
    members = fitted.dynamics.predict_members(
        0, states.astype(np.float32), np.zeros((200, 1), dtype=np.float32)
    )
    np.testing.assert_allclose(found.next_obs, members[kept, np.arange(200)], atol=1e-5)


def test_a_prediction_that_is_lost_halts_where_it_was(fitted: MOReL) -> None:
    found, _ = advance(fitted, np.array([[1e30, 1e30], [0.1, 0.1]]))
    assert found.halt.tolist() == [True, False]
    assert np.isfinite(found.next_obs).all()


def test_the_penalty_makes_halting_no_better_than_going_on() -> None:
    data = recorded(WORLD, 20)
    worst = float(data.reward.min())
    assert penalty_of(data, MOReLConfig()) == pytest.approx(-worst / (1 - 0.99))
    good = dataclasses.replace(data, reward=np.ones(len(data)))
    assert penalty_of(good, MOReLConfig()) == 0.0
    assert penalty_of(data, MOReLConfig(penalty=3.0)) == 3.0


def demonstrated(noise: float, episodes: int, seed: int = 0) -> Transitions:
    """One agent whose controller is sometimes right and mostly anything: mixed data."""
    rng = np.random.default_rng(seed)
    obs = [TASK.sample_start(rng, episodes)]
    acted = []
    gain = rng.uniform(-0.6, 1.0, size=episodes)  # from harmful to helpful
    for _ in range(20):
        x, y = obs[-1].T
        push = np.clip(-gain * (2 * x + y) + noise * rng.normal(size=episodes), -1, 1)
        acted.append(push[:, None])
        obs.append(WORLD.step(np.zeros(episodes, dtype=np.int64), obs[-1], acted[-1]))
    path = np.stack(obs, axis=1).astype(np.float32)
    return transitions(path, np.stack(acted, axis=1), np.zeros(episodes, dtype=np.int64))


def returns(policy: Any) -> float:
    return float(episode_returns(TASK, WORLD, [0], policy, 50).mean())


@pytest.mark.slow
def test_it_beats_behaviour_cloning_on_mixed_data_of_one_agent() -> None:
    data = demonstrated(0.5, 60)
    options = {"updates": 1500, "hidden": (64,), "policy_hidden": (32,), "lanes": 16}
    cloned = fit(data, **options, imitation=200, policy_steps=1, policy_learning_rate=1e-9)
    searched = fit(data, **options, imitation=20, policy_steps=40_000)
    assert returns(searched) > 0.6 * returns(cloned)  # costs: less than 0.6 of them
    assert math.isfinite(returns(cloned))


@pytest.mark.slow
def test_search_improves_on_what_it_imitated() -> None:
    """The same in small: a few seconds."""
    data = demonstrated(0.5, 30)
    options = {"updates": 400, "hidden": (32,), "policy_hidden": (16,), "lanes": 16}
    cloned = fit(data, **options, imitation=50, policy_steps=1, policy_learning_rate=1e-9)
    searched = fit(data, **options, imitation=10, policy_steps=4000, policy_learning_rate=3e-3)
    assert returns(searched) > returns(cloned) + 1
