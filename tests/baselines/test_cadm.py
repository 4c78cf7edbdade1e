"""CaDM in a world whose hidden parameter the past alone tells, and as dynamics and environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import CaDM
from persim_gym.baselines.model_config import VANILLA
from persim_gym.evaluation.episodes import Episodes
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.planning import MPC
from persim_gym.planning.shooting import RandomShooting
from tests.baselines.context_worlds import TASK, HiddenGain, gains, recorded

SMALL: dict[str, Any] = {
    **VANILLA, "hidden": (64,), "encoder": (64, 32), "steps": 700, "batch_size": 128,
    "learning_rate": 3e-3,
}  # fmt: skip
TINY: dict[str, Any] = {"hidden": (8,), "encoder": (8,), "steps": 20, "batch_size": 16}


def fit(data: Any, **options: Any) -> CaDM:
    return CaDM.fit(data, task=TASK, progress=False, **options)


def episodes(agents: int, seed: int) -> Episodes:
    """Ten steps and thirty more of agents that no data were recorded of."""
    data = recorded(HiddenGain(gains(agents, seed)), 40, seed)
    obs = np.concatenate(
        [data.obs.reshape(agents, 40, 2), data.next_obs.reshape(agents, 40, 2)[:, -1:]], axis=1
    )
    actions = data.action.reshape(agents, 40, 1).astype(np.float64)
    lengths = np.full(agents, 40)
    return Episodes(TASK.name, np.arange(agents), obs.astype(float), actions, lengths, 10, 30)


@pytest.mark.slow
def test_the_context_tells_what_a_model_without_one_cannot_know() -> None:
    data = recorded(HiddenGain(gains(60)), 40)
    unseen = episodes(20, seed=9)
    errors = {}
    for name, options in {"with": SMALL, "without": SMALL | {"context": 0}}.items():
        fitted = fit(data, **options)
        errors[name] = float(np.mean(open_loop_error(fitted.dynamics, unseen, traces=1).rmse))
    assert errors["with"] < 0.3 * errors["without"]


def test_its_error_is_that_of_the_context_of_the_observed_steps() -> None:
    """What is predicted open loop keeps the context; states before the observed ones are used."""
    fitted = fit(recorded(HiddenGain(gains(6)), 30), **TINY)
    asked = episodes(3, seed=2)
    sim = fitted.dynamics
    assert sim.lag == 11
    states = sim.states(asked.obs[:, :11].astype(np.float32), asked.actions[:, :10])
    expected = sim.rollout(asked.agents, states, asked.actions[:, 10:])
    np.testing.assert_allclose(asked.predicted_by(sim), expected, rtol=1e-6)
    assert expected.shape == (5, 3, 30, 2)  # particles


@pytest.mark.slow
def test_planning_goes_by_what_the_episode_has_shown() -> None:
    """The best action has the sign of the gain, which ten steps of an episode tell."""
    world = HiddenGain(np.array([1.5, -1.5]))
    data = recorded(HiddenGain(np.tile(world.gains, 10)), 40)
    fitted = fit(data, **SMALL | {"steps": 400})
    mpc = fitted.mpc(RandomShooting(candidates=60, horizon=4))
    rng, obs, state = np.random.default_rng(0), np.full((2, 2), 0.5, dtype=np.float32), None
    agents = np.arange(2)
    for _ in range(10):
        _, state = mpc.plan(agents, obs, state)
        plans, known, _ = state
        taken = rng.uniform(-1, 1, (2, 1))
        state = (plans, known, taken)
        obs = world.step(agents, obs, taken).astype(np.float32)
    obs[:] = [2.0, 0.0]
    actions, _ = mpc.plan(agents, obs, state)
    assert actions[0, 0] < -0.3
    assert actions[1, 0] > 0.3


def test_an_environment_begins_with_a_past_of_its_agent() -> None:
    data = recorded(HiddenGain(gains(6)), 30)
    fitted = fit(data, **TINY)
    own = fitted._of_agent(4)
    known = own.experience.pasts
    assert known is not None
    every = own.states_of(data).reshape(len(data), -1)[data.agent == 4]
    assert all((np.abs(every - past).max(axis=1) < 1e-6).any() for past in known)
    env = fitted.env(4, max_episode_steps=5)
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    for _ in range(5):
        obs, _, _, truncated, info = env.step(env.action_space.sample())
    assert truncated
    assert info["agent"] == 4
    lanes = fitted.vector_env(3, 4)
    first, _ = lanes.reset(seed=0)
    alone, _ = fitted.env(4).reset(seed=0)
    np.testing.assert_array_equal(first[0], alone)


def test_it_acts_in_episodes_with_a_running_context() -> None:
    fitted = fit(recorded(HiddenGain(gains(3)), 30), **TINY, planner="shooting")
    obs = np.zeros((4, 2), dtype=np.float32)
    actions, state = fitted.predict(obs)
    assert actions.shape == (4, 1)
    assert state[1].shape == (4, 11, 3)
    again, _ = fitted.predict(obs)
    np.testing.assert_array_equal(actions, again)
    assert isinstance(fitted.mpc(), MPC)


@pytest.mark.parametrize(
    ("steps", "options", "says"),
    [
        (10, {}, "made of 10 transitions .* the longest trajectory has 10"),
        (4, {"history": 4}, "made of 4 transitions"),
    ],
)
def test_trajectories_too_short_for_a_context_are_refused(
    steps: int, options: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CaDM, "_learn", lambda given: pytest.fail("it began to work"))
    with pytest.raises(ValueError, match=says) as caught:
        fit(recorded(HiddenGain(gains(3)), steps), **options)
    assert "\n" not in str(caught.value)


def test_short_trajectories_do_without_a_context_or_with_a_shorter_past() -> None:
    data = recorded(HiddenGain(gains(3)), 6)
    assert fit(data, **TINY, history=4).dynamics.lag == 5
    assert fit(data, **TINY, context=0).dynamics.lag == 1
