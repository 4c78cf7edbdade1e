"""MountainCar's physics and its reward."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np

from persim_gym.envs import SUITES
from tests.envs.physics import default_dynamics, rows


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


def test_mountain_car_rewards() -> None:
    task = SUITES["mountain-car"].task()
    following = np.array([[0.0, 0.07], [0.5, 0.0], [0.5, -0.01], [0.6, 0.07], [0.4999, 0.07]])
    assert task.terminated(following).tolist() == [False, True, False, True, False]
    assert task.reward(following, np.zeros(5, int), following).tolist() == [-1, 0, -1, 0, -1]
