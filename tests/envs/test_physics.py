"""True dynamics: Gymnasium's own with default covariates, and formulas written out for others."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from persim_gym.core import Dynamics
from persim_gym.envs import SUITES, Population, Suite
from persim_gym.envs.tasks.half_cheetah import HalfCheetahDynamics, base_model


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> Suite:
    return SUITES[request.param]


def rows(suite: Suite, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Agents, states and actions, spread over what an episode may visit."""
    rng = np.random.default_rng(seed)
    agents = rng.integers(500, size=n)
    if suite.name == "mountain-car":
        states = rng.uniform([-1.2, -0.07], [0.6, 0.07], (n, 2))
        return agents, states, rng.integers(3, size=n)
    if suite.name == "cartpole":
        spread = np.array([2.4, 3.0, 0.2, 3.0])
        return agents, rng.uniform(-spread, spread, (n, 4)), rng.integers(2, size=n)
    states = rng.normal(0, 0.2, (n, 18))
    states[:, 1] = 0.3 + 0.2 * rng.random(n)  # in the air and on the ground
    states[:, 9:] *= 5
    return agents, states, rng.uniform(-1, 1, (n, 6))


def one(dynamics: Dynamics, agent: int, state: object, action: object) -> np.ndarray:
    return dynamics.step(np.array([agent]), np.array([state]), np.array([action]))[0]


# -- with default covariates -----------------------------------------------------------------------


def default_dynamics(suite: Suite) -> Dynamics:
    return suite.dynamics(Population.single(suite.covariates, {}))


def test_cartpole_steps_are_gymnasiums() -> None:
    suite = SUITES["cartpole"]
    theirs = gym.make("CartPole-v1").unwrapped
    theirs.reset()
    _, states, actions = rows(suite, 300)
    ours = default_dynamics(suite).step(np.zeros(300, int), states, actions)
    task = suite.task()
    for state, action, following in zip(states, actions, ours, strict=True):
        theirs.state, theirs.steps_beyond_terminated = tuple(state), None
        _, reward, terminated, *_ = theirs.step(int(action))
        np.testing.assert_allclose(following, theirs.state, rtol=1e-12, atol=1e-13)
        assert bool(task.terminated(following)) == terminated
        assert float(task.reward(state, action, following)) == reward


def test_mountain_car_steps_are_gymnasiums() -> None:
    suite = SUITES["mountain-car"]
    theirs = gym.make("MountainCar-v0").unwrapped
    theirs.reset()
    _, states, actions = rows(suite, 500)
    states[:40, 0], states[:40, 1] = np.linspace(-1.2, -1.14, 40), -0.06  # into the left wall
    states[40:80, 0], states[40:80, 1] = np.linspace(0.44, 0.6, 40), 0.06
    ours = default_dynamics(suite).step(np.zeros(500, int), states, actions)
    task = suite.task()
    at_goal = 0
    for state, action, following in zip(states, actions, ours, strict=True):
        theirs.state = tuple(state)
        _, reward, terminated, *_ = theirs.step(int(action))
        np.testing.assert_allclose(following, theirs.state, rtol=1e-12, atol=1e-14)
        assert bool(task.terminated(following)) == terminated
        # Ours gives 0 on the step that reaches the goal, Gymnasium's -1.
        assert float(task.reward(state, action, following)) == reward + terminated
        at_goal += terminated
    assert 5 < at_goal < 400
    assert (ours[:40] == [-1.2, 0.0]).all(axis=1).any()
    assert not np.signbit(ours[:40][ours[:40, 1] == 0, 1]).any()


def swinging(obs: np.ndarray) -> int:
    """A policy that reaches the goal of the default mountain car."""
    return 2 if obs[1] >= 0 else 0


def balancing(obs: np.ndarray) -> int:
    """A policy that keeps the default pole upright for the whole episode."""
    return int(obs[2] + 0.5 * obs[3] + 0.02 * obs[0] + 0.05 * obs[1] > 0)


@pytest.mark.parametrize("policy", ["good", "random"])
@pytest.mark.parametrize("name", ["cartpole", "mountain-car"])
def test_whole_episodes_are_gymnasiums(name: str, policy: str) -> None:
    env_id = {"cartpole": "CartPole-v1", "mountain-car": "MountainCar-v0"}[name]
    act = {"cartpole": balancing, "mountain-car": swinging}[name]
    suite = SUITES[name]
    limit = suite.task().max_episode_steps
    ours = gym.make(suite.env_id, covariates={})
    theirs = gym.make(env_id, max_episode_steps=limit)
    rng = np.random.default_rng(0)
    for seed in range(3):
        obs, _ = ours.reset(seed=seed)
        expected, _ = theirs.reset(seed=seed)
        np.testing.assert_array_equal(obs, expected)
        length = 0
        while True:
            action = act(obs) if policy == "good" else int(rng.integers(ours.action_space.n))
            obs, reward, terminated, truncated, _ = ours.step(action)
            expected, their_reward, *theirs_end, _ = theirs.step(action)
            np.testing.assert_allclose(obs, expected, rtol=1e-6, atol=1e-7)
            assert [terminated, truncated] == theirs_end
            if name == "mountain-car":
                their_reward += terminated
            assert reward == their_reward
            length += 1
            if terminated or truncated:
                break
        if policy == "good":
            assert terminated == (name == "mountain-car")
            assert (length == 200) == (name == "cartpole")


def gymnasium_cheetah() -> gym.Env:
    return gym.make("HalfCheetah-v5").unwrapped


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


# -- covariates reach the physics ------------------------------------------------------------------


def test_each_covariate_changes_the_next_state(suite: Suite) -> None:
    for column in suite.covariates.columns:
        ends = [
            Population.single(suite.covariates, {column.name: value})
            for value in (column.low, column.high)
        ]
        _, states, actions = rows(suite, 20)
        low, high = (suite.dynamics(end).step(np.zeros(20, int), states, actions) for end in ends)
        assert (low != high).any(axis=1).mean() > 0.9, column.name


def test_cartpole_agents_obey_the_equations_of_motion() -> None:
    """Lagrange's equations as a linear system, solved for both accelerations."""
    suite = SUITES["cartpole"]
    population = suite.population()
    agents, states, actions = rows(suite, 400)
    agents[:5] = range(5)
    following = suite.dynamics(population).step(agents, states, actions)
    cart, pole, g, dt = 1.0, 0.1, 9.8, 0.02
    for agent, (x, v, theta, omega), action, ours in zip(
        agents, states, actions, following, strict=True
    ):
        force, length = population.values[agent]
        push = force if action == 1 else -force
        coupling = pole * length * math.cos(theta)
        mass = np.array([[cart + pole, coupling], [coupling, 4 / 3 * pole * length**2]])
        forces = [
            push + pole * length * omega**2 * math.sin(theta),
            pole * g * length * math.sin(theta),
        ]
        acceleration, turning = np.linalg.solve(mass, forces)
        expected = [x + dt * v, v + dt * acceleration, theta + dt * omega, omega + dt * turning]
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_mountain_car_agents_obey_the_slope() -> None:
    suite = SUITES["mountain-car"]
    population = suite.population()
    agents, states, actions = rows(suite, 400)
    agents[:5] = range(5)
    following = suite.dynamics(population).step(agents, states, actions)
    for agent, (position, velocity), action, ours in zip(
        agents, states, actions, following, strict=True
    ):
        gravity = float(population.values[agent, 0])
        velocity += 0.001 * (action - 1) - gravity * math.cos(3 * position)
        velocity = max(-0.07, min(0.07, velocity))
        position = max(-1.2, min(0.6, position + velocity))
        if position == -1.2 and velocity < 0:
            velocity = 0.0
        np.testing.assert_allclose(ours, [position, velocity], rtol=1e-12, atol=1e-15)


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


# -- batches ---------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_each_other(suite: Suite) -> None:
    dynamics = suite.dynamics(suite.population())
    agents, states, actions = rows(suite, 37)
    together = dynamics.step(agents, states, actions)
    assert together.shape == states.shape
    alone = [
        one(dynamics, agent, state, action)
        for agent, state, action in zip(agents, states, actions, strict=True)
    ]
    np.testing.assert_array_equal(together, alone)
    order = np.random.default_rng(0).permutation(37)
    np.testing.assert_array_equal(
        dynamics.step(agents[order], states[order], actions[order]), together[order]
    )


def test_a_step_is_stateless_and_leaves_its_arguments(suite: Suite) -> None:
    dynamics = suite.dynamics(suite.population())
    given = rows(suite, 9)
    before = [array.copy() for array in given]
    first = dynamics.step(*given)
    kept = first.copy()
    dynamics.step(*rows(suite, 9, seed=1))
    np.testing.assert_array_equal(first, kept, err_msg="a returned array is the caller's")
    np.testing.assert_array_equal(dynamics.step(*given), kept)
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("name", ["cartpole", "mountain-car"])
def test_single_rows_are_bit_for_bit_the_batch(name: str) -> None:
    suite = SUITES[name]
    dynamics = suite.dynamics(suite.population())
    agents, states, actions = rows(suite, 1003)
    together = dynamics.step(agents, states, actions)
    alone = [
        dynamics.step_row(agent, state, action)
        for agent, state, action in zip(
            agents.tolist(), states.tolist(), actions.tolist(), strict=True
        )
    ]
    np.testing.assert_array_equal(together, alone)


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


@pytest.mark.parametrize("how", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies(suite: Suite, how: object) -> None:
    dynamics = suite.dynamics(suite.population(6))
    agents, states, actions = rows(suite, 5)
    agents %= 6
    expected = dynamics.step(agents, states, actions)
    twin = how(dynamics)  # type: ignore[operator]
    assert twin.num_agents == 6
    np.testing.assert_array_equal(twin.step(agents, states, actions), expected)


def test_the_model_file_is_the_one_gymnasium_ships() -> None:
    import persim_gym

    assert not list(Path(persim_gym.__file__).parent.rglob("*.xml"))
    assert "half_cheetah.xml" in inspect.getsource(base_model)
