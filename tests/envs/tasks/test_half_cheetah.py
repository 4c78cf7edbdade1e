"""HalfCheetah's physics: MuJoCo's, as Gymnasium has it."""

from __future__ import annotations

import inspect
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from persim_gym.envs import SUITES
from persim_gym.envs.tasks.half_cheetah import HalfCheetahDynamics, base_model
from tests.envs.physics import default_dynamics, gymnasium_cheetah, rows


def test_half_cheetah_steps_are_gymnasiums() -> None:
    suite = SUITES["half-cheetah"]
    theirs = gymnasium_cheetah()
    theirs.reset(seed=0)
    _, states, actions = rows(suite, 25)
    dynamics = default_dynamics(suite)
    ours = dynamics.step(np.zeros(25, int), states, actions)
    task = suite.task()
    for i, (state, action, following) in enumerate(zip(states, actions, ours, strict=True)):
        x = 3.0 * i  # where the root is has no influence
        theirs.set_state(np.concatenate([[x], state[1:9]]), state[9:])
        obs, reward, terminated, truncated, info = theirs.step(action)
        np.testing.assert_allclose(following[1:], obs, rtol=1e-8, atol=1e-9)
        # The velocity from the root's own positions, with nobody's help.
        velocity = (theirs.data.qpos[0] - x) / (theirs.model.opt.timestep * theirs.frame_skip)
        assert following[0] == pytest.approx(velocity, rel=1e-8, abs=1e-9)
        assert following[0] == pytest.approx(info["x_velocity"], rel=1e-8, abs=1e-9)
        assert float(task.reward(state, action, following)) == pytest.approx(reward, abs=1e-8)
        assert not terminated | truncated


def test_half_cheetah_episodes_are_gymnasiums() -> None:
    ours = gym.make("PerSim-HalfCheetah-v0", covariates={})
    theirs = gymnasium_cheetah()
    theirs.reset(seed=0)
    obs, _ = ours.reset(seed=0)
    state = ours.unwrapped._obs
    theirs.set_state(np.concatenate([[0.0], state[1:9]]), state[9:])
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = rng.uniform(-1, 1, 6).astype(np.float32)
        obs, reward, *_ = ours.step(action)
        expected, their_reward, *_ = theirs.step(action)
        np.testing.assert_allclose(obs[1:], expected, rtol=1e-5, atol=1e-5)
        assert reward == pytest.approx(their_reward, abs=1e-5)


def test_half_cheetah_observation_layout() -> None:
    env = gym.make("PerSim-HalfCheetah-v0", covariates={})
    obs, _ = env.reset(seed=0)
    assert obs.shape == (18,)
    assert obs[0] == 0, "at rest"
    # Falling from a height, everything is known: gravity is the third of the velocities' second.
    state = np.zeros(18)
    state[0], state[1], state[9] = 77.0, 5.0, 2.0  # a velocity that is told, a height, a speed
    env.reset(options={"state": state})
    obs, *_ = env.step(np.zeros(6))
    assert obs[0] == pytest.approx(2.0, abs=0.02)  # mean forward velocity, whatever was told before
    assert obs[9] == pytest.approx(2.0, abs=0.05)  # the root's x velocity
    assert obs[10] == pytest.approx(-9.81 * 0.05, abs=0.02)  # its z velocity after 0.05 s
    assert obs[1] == pytest.approx(5.0 - 9.81 * 0.05**2 / 2, abs=0.01)  # its height
    other = state.copy()
    other[0] = -5.0
    env.reset(options={"state": other})
    np.testing.assert_array_equal(env.step(np.zeros(6))[0], obs)


@pytest.mark.parametrize("agent", [0, 1, 2, 4, 7])
def test_half_cheetah_agents_are_mujocos(agent: int) -> None:
    """Gymnasium's environment with the two arrays of its model scaled by hand."""
    suite = SUITES["half-cheetah"]
    population = suite.population()
    mass, damping = population.values[agent]
    theirs = gymnasium_cheetah()
    theirs.reset(seed=0)
    theirs.model.body_mass[:] = theirs.model.body_mass * mass
    theirs.model.dof_damping[:] = theirs.model.dof_damping * damping
    _, states, actions = rows(suite, 6, seed=agent)
    ours = suite.dynamics(population).step(np.full(6, agent), states, actions)
    for state, action, following in zip(states, actions, ours, strict=True):
        theirs.set_state(np.concatenate([[0.0], state[1:9]]), state[9:])
        obs, *_ = theirs.step(action)
        np.testing.assert_allclose(following[1:], obs, rtol=1e-8, atol=1e-9)


def test_half_cheetah_scales_mass_and_damping_and_nothing_else() -> None:
    suite = SUITES["half-cheetah"]
    dynamics = suite.dynamics(suite.population())
    assert isinstance(dynamics, HalfCheetahDynamics)
    base, heavy = base_model(), dynamics.model(1)
    np.testing.assert_allclose(heavy.body_mass, 1.7 * base.body_mass, rtol=1e-15)
    np.testing.assert_allclose(heavy.dof_damping, 0.3 * base.dof_damping, rtol=1e-15)
    assert base.body_mass.sum() == pytest.approx(14.0)
    theirs = gymnasium_cheetah().model
    for name in dir(theirs):
        value = getattr(theirs, name)
        if name.startswith(("body_", "dof_", "jnt_", "actuator_", "qpos", "geom_")) and isinstance(
            value, np.ndarray
        ):
            if name in ("geom_matid", "body_mass", "dof_damping"):
                continue
            np.testing.assert_allclose(
                getattr(heavy, name), value, rtol=1e-12, atol=0, err_msg=name
            )
    np.testing.assert_allclose(base.body_mass, theirs.body_mass, rtol=1e-12)
    np.testing.assert_array_equal(base.dof_damping, theirs.dof_damping)
    for name in ("timestep", "gravity", "integrator", "iterations", "tolerance", "solver"):
        np.testing.assert_array_equal(getattr(heavy.opt, name), getattr(theirs.opt, name))
    assert (heavy.body_inertia == base.body_inertia).all()


def test_a_rollout_is_steps_in_a_row() -> None:
    suite = SUITES["half-cheetah"]
    dynamics = suite.dynamics(suite.population())
    agents, states, _ = rows(suite, 3)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 4, 6))
    predicted = dynamics.rollout(agents, states, actions)
    assert predicted.shape == (3, 4, 18)
    for t in range(4):
        states = dynamics.step(agents, states, actions[:, t])
        np.testing.assert_allclose(predicted[:, t], states, rtol=1e-6, atol=1e-7)


def test_the_model_file_is_the_one_gymnasium_ships() -> None:
    import persim_gym

    assert not list(Path(persim_gym.__file__).parent.rglob("*.xml"))
    assert "half_cheetah.xml" in inspect.getsource(base_model)


def test_half_cheetah_rewards() -> None:
    task = SUITES["half-cheetah"].task()
    obs, following = np.zeros((2, 18)), np.full((2, 18), 9.0)
    following[:, 0] = 3.0, -2.0
    action = np.array([[0.0] * 6, [1.0, -1.0, 0.5, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(task.reward(obs, action, following), [3.0, -2.0 - 0.1 * 2.25])
    assert not task.terminated(following * 1e9).any()
