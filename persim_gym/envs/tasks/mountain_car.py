"""MountainCar with agents that differ in gravity: task, dynamics, all facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.core import Array
from persim_gym.envs.populations import Covariate, CovariateTable, Population
from persim_gym.envs.tasks.facts import Controller, Suite

COVARIATES = CovariateTable(
    columns=(
        Covariate("gravity", 0.0025, 0.0001, 0.0035, "pull along the slope, per step squared"),
    ),
    test_agents=((0.0001,), (0.0005,), (0.001,), (0.0025,), (0.0035,)),
)

FORCE = 0.001
MAX_SPEED = 0.07
LEFT_WALL, RIGHT_END = -1.2, 0.6
GOAL = 0.5


def _space() -> Box:
    low = np.array([LEFT_WALL, -MAX_SPEED], dtype=np.float32)
    high = np.array([RIGHT_END, MAX_SPEED], dtype=np.float32)
    return Box(low, high, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class MountainCarTask:
    """Drive an underpowered car up the right hill.

    Paper: the step that reaches the goal is rewarded with 0; Gymnasium's own environment gives -1
    there too. The time limit is 500 steps, Gymnasium's is 200.
    """

    name: str = "mountain-car"
    observation_space: Box = field(default_factory=_space)
    action_space: Discrete = field(default_factory=lambda: Discrete(3))
    max_episode_steps: int = 500
    render_fps: int = 30
    root_velocity: None = None
    single_rows: ClassVar[bool] = True
    reward_range: ClassVar[tuple[float, float]] = (-1.0, 0.0)

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """-1 a step, 0 on the step that reaches the goal."""
        return self.terminated(next_obs) * 1.0 - 1.0

    def terminated(self, next_obs: Array) -> Array:
        """At or beyond the goal, not rolling back."""
        return (next_obs[..., 0] >= GOAL) & (next_obs[..., 1] >= 0.0)

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """At rest, the position uniform in [-0.6, -0.4]."""
        start = np.zeros((n, 2))
        start[:, 0] = rng.uniform(-0.6, -0.4, size=n)
        return start


class MountainCarDynamics:
    """The car's exact equations, for rows of different agents."""

    lag = 1

    def __init__(self, population: Population) -> None:
        self.population = population
        self._gravity = population.column("gravity")
        self._gravity_list: list[float] = self._gravity.tolist()

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return len(self.population)

    def step(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Next states ``[n, 2]``, columns contiguous."""
        position, velocity = states.T
        velocity = velocity + ((actions - 1) * FORCE - np.cos(3 * position) * self._gravity[agents])
        velocity = np.minimum(np.maximum(velocity, -MAX_SPEED), MAX_SPEED)
        position = np.minimum(np.maximum(position + velocity, LEFT_WALL), RIGHT_END)
        # The left wall is inelastic; multiplying keeps this free of branches, adding zero turns
        # the negative zero of a stopped car into a positive one.
        velocity = velocity * ((position > LEFT_WALL) | (velocity >= 0)) + 0.0
        return np.stack((position, velocity)).T

    def step_row(self, agent: int, state: list[float], action: int) -> tuple[float, ...]:
        """The same for one row of plain floats: bit for bit :meth:`step`, without array overhead.

        ``np.cos`` and not ``math.cos``, for the two may differ in the last bit.
        """
        position, velocity = state
        pull = float(np.cos(3 * position)) * self._gravity_list[agent]
        velocity = velocity + ((action - 1) * FORCE - pull)
        velocity = min(max(velocity, -MAX_SPEED), MAX_SPEED)
        position = min(max(position + velocity, LEFT_WALL), RIGHT_END)
        return position, velocity * ((position > LEFT_WALL) | (velocity >= 0)) + 0.0


def _bang_bang(obs: NDArray[Any], time: NDArray[Any], style: NDArray[Any]) -> NDArray[np.int64]:
    """Push the car the way it is already going."""
    return np.where(obs[:, 1] >= 0, 2, 0)


SUITE = Suite(
    name="mountain-car",
    env_id="PerSim-MountainCar-v0",
    title="MountainCar",
    noun="cars",
    covariates=COVARIATES,
    task=MountainCarTask,
    dynamics=MountainCarDynamics,
    controller=Controller(
        "bang-bang", "bang-bang control that pushes the way the car is going", _bang_bang
    ),
    coordinates=("position", "velocity"),
    ranges=((LEFT_WALL, RIGHT_END), (-MAX_SPEED, MAX_SPEED)),
    planes=((0, 1),),
    microseconds=(2.0, 3.0),
    end=lambda obs: "goal reached",
)
