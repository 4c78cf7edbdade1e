"""CartPole's physics and its reward."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest

from persim_gym.envs import SUITES
from tests.envs.physics import default_dynamics, rows


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


def test_cartpole_rewards() -> None:
    task = SUITES["cartpole"].task()
    angle = 12 * np.pi / 180
    following = np.zeros((7, 4))
    following[1:3, 0] = 2.4, 2.41
    following[3, 0] = -2.41
    following[4:, 2] = angle, 1.001 * angle, -1.001 * angle
    assert task.terminated(following).tolist() == [False, False, True, True, False, True, True]
    assert task.reward(following, np.zeros(7, int), following).tolist() == [1.0] * 7


def test_a_pole_beyond_single_precision_is_refused() -> None:
    for covariates in ({"force": [10.0, 1e37]}, {"length": [0.5, 1e-40]}):
        with pytest.raises(ValueError, match=r"the pole of agent 1 .* leaves single precision"):
            gym.make("PerSim-CartPole-v0", population={"covariates": covariates})
    gym.make("PerSim-CartPole-v0", population={"covariates": {"force": [1e-9, 1e9]}})
