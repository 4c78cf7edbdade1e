"""CartPole with agents that differ in force and pole length: task, dynamics, all facts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.core import Array, describe
from persim_gym.envs.populations import Covariate, CovariateTable, Population
from persim_gym.envs.tasks.facts import Controller, Suite

COVARIATES = CovariateTable(
    columns=(
        Covariate("force", 10.0, 2.0, 18.0, "push of an action on the cart, N"),
        Covariate("length", 0.5, 0.15, 0.85, "half the pole's length, m"),
    ),
    test_agents=((2.0, 0.5), (10.0, 0.5), (18.0, 0.5), (10.0, 0.85), (10.0, 0.15)),
)

GRAVITY = 9.8  # m / s^2
CART_MASS, POLE_MASS = 1.0, 0.1  # kg
TOTAL_MASS = CART_MASS + POLE_MASS
TIME_STEP = 0.02  # s, explicit Euler
MAX_ANGLE = 12 * 2 * math.pi / 360  # rad
MAX_POSITION = 2.4  # m


def _space() -> Box:
    # Twice the limits of failure, so that a failing observation still lies inside.
    high = np.array([MAX_POSITION * 2, np.inf, MAX_ANGLE * 2, np.inf], dtype=np.float32)
    return Box(-high, high, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class CartPoleTask:
    """Keep a pole upright on a cart by pushing left or right; 200 steps at most."""

    name: str = "cartpole"
    observation_space: Box = field(default_factory=_space)
    action_space: Discrete = field(default_factory=lambda: Discrete(2))
    max_episode_steps: int = 200
    render_fps: int = 50
    root_velocity: None = None
    single_rows: ClassVar[bool] = True

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """+1 a step, the last one included."""
        return next_obs[..., 0] * 0.0 + 1.0

    def terminated(self, next_obs: Array) -> Array:
        """Cart off the track or pole beyond 12 degrees."""
        return (abs(next_obs[..., 0]) > MAX_POSITION) | (abs(next_obs[..., 2]) > MAX_ANGLE)

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """All four coordinates uniform in [-0.05, 0.05]."""
        return rng.uniform(-0.05, 0.05, size=(n, 4))


class CartPoleDynamics:
    """The exact equations of cart and pole, for rows of different agents.

    What follows from the covariates (pole mass times length, inertia) is computed from them in
    every step and stored nowhere: a changed length must reach all of them.

    Raises:
        ValueError: If an agent's covariates take the pole beyond single precision.
    """

    lag = 1

    def __init__(self, population: Population) -> None:
        self.population = population
        self._force = population.column("force")
        self._length = population.column("length")
        self._rows: list[list[float]] = population.values.tolist()
        self._check_covariates()

    def _check_covariates(self) -> None:
        """Two pushes from the start, of which the second is of a pole that has got fast.

        Those that do not overflow in these end the episode before they do.
        """
        n = self.num_agents
        states = np.full((n, 4), 0.05)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for _ in range(2):
                states = self.step(np.arange(n), states, np.ones(n, dtype=np.int64))
            bad = ~np.isfinite(states.astype(np.float32)).all(axis=1)
        if bad.any():
            agent = int(np.argmax(bad))
            raise ValueError(
                f"the pole of agent {agent} ({describe(self.population.covariates(agent))}) leaves "
                "single precision in two steps: choose covariates nearer to the defaults, "
                f"{describe(COVARIATES.defaults)}"
            )

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return len(self.population)

    def step(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Next states ``[n, 4]``, columns contiguous."""
        by_coordinate = states.T
        _, x_dot, theta, theta_dot = by_coordinate
        push = (actions * 2.0 - 1.0) * self._force[agents]
        rates = np.empty((4, len(x_dot)))
        rates[0], rates[2] = x_dot, theta_dot
        rates[1], rates[3] = _accelerations(
            np.cos(theta), np.sin(theta), theta_dot, push, self._length[agents]
        )
        rates *= TIME_STEP
        rates += by_coordinate
        return rates.T

    def step_row(self, agent: int, state: list[float], action: int) -> tuple[float, ...]:
        """The same for one row of plain floats: bit for bit :meth:`step`, no array overhead."""
        x, x_dot, theta, theta_dot = state
        force, length = self._rows[agent]
        x_acc, theta_acc = _accelerations(
            float(np.cos(theta)), float(np.sin(theta)), theta_dot, (action * 2 - 1) * force, length
        )
        return (
            x + TIME_STEP * x_dot,
            x_dot + TIME_STEP * x_acc,
            theta + TIME_STEP * theta_dot,
            theta_dot + TIME_STEP * theta_acc,
        )


def _accelerations(
    cos: Array, sin: Array, theta_dot: Array, push: Array, length: Array
) -> tuple[Any, Any]:
    """Accelerations of cart and pole, in arrays or plain floats alike.

    The equations of Florian, "Correct equations for the dynamics of the cart-pole system" (2007),
    without friction, as in Gymnasium.
    """
    mass_length = POLE_MASS * length
    common = (push + mass_length * (theta_dot * theta_dot) * sin) / TOTAL_MASS
    theta_acc = (GRAVITY * sin - cos * common) / (
        length * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS)
    )
    return common - mass_length * theta_acc * cos / TOTAL_MASS, theta_acc


def _linear_feedback(
    obs: NDArray[Any], time: NDArray[Any], style: NDArray[Any]
) -> NDArray[np.int64]:
    """Push to the side to which the pole is falling, and lean towards a place within a metre."""
    place = 2.0 * style[:, 0] - 1.0
    lean = obs @ np.array([0.1, 0.2, 1.0, 0.3]) - 0.1 * place
    return (lean > 0).astype(np.int64)


SUITE = Suite(
    name="cartpole",
    env_id="PerSim-CartPole-v0",
    title="CartPole",
    noun="carts with poles",
    covariates=COVARIATES,
    task=CartPoleTask,
    dynamics=CartPoleDynamics,
    controller=Controller(
        "linear-feedback",
        "linear feedback that walks the cart to a place of its own in each episode",
        _linear_feedback,
    ),
    coordinates=("position (m)", "velocity (m/s)", "angle (rad)", "angular velocity (rad/s)"),
    headline=2,
    ranges=((-MAX_POSITION, MAX_POSITION), (-4.0, 4.0), (-0.21, 0.21), (-4.0, 4.0)),
    planes=((0, 1), (2, 3)),
    microseconds=(5.0, 3.0),
    end=lambda obs: "off the track" if abs(float(obs[0])) > MAX_POSITION else "pole fell",
)
