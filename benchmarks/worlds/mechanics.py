"""Worlds of bodies that swing, balance, bounce and are blown about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .world import Floats, Parameters, Policy, World, runge_kutta


class Pendulum(World):
    """A driven pendulum, its angle seen as cosine and sine; the speed is clipped."""

    name = "pendulum"
    obs_names = ("cosine", "sine", "speed")
    action_names = ("torque",)
    low, high = (-2.0,), (2.0,)
    steps = 200
    shaken = (1.0, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "gravity": rng.uniform(5, 15, n),
            "mass": rng.uniform(0.5, 1.5, n),
            "length": rng.uniform(0.6, 1.4, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform([-np.pi, -1], [np.pi, 1], (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        angle, speed = states.T
        pull = 1.5 * own["gravity"] / own["length"] * np.sin(angle)
        push = 3 * actions[:, 0] / (own["mass"] * own["length"] ** 2)
        speed = np.clip(speed + 0.05 * (pull + push), -8, 8)
        return np.stack([angle + 0.05 * speed, speed], axis=1)

    def observe(self, states: Floats) -> Floats:
        return np.stack([np.cos(states[:, 0]), np.sin(states[:, 0]), states[:, 1]], axis=1)


class WrappedPendulum(Pendulum):
    """The same, its angle seen in (-pi, pi]."""

    name = "angle"
    obs_names = ("angle", "speed")
    angles = (0,)

    def observe(self, states: Floats) -> Floats:
        return np.stack([np.pi - (np.pi - states[:, 0]) % (2 * np.pi), states[:, 1]], axis=1)


class TwoLinks(World):
    """Two linked rods with friction, driven between them; each angle seen as cosine and sine."""

    name = "two-links"
    obs_names = ("cosine1", "sine1", "cosine2", "sine2", "speed1", "speed2")
    action_names = ("torque",)
    steps = 150
    hold = 0.8
    shaken = (0.1, 0.1, 1.0, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "length": rng.uniform(0.7, 1.3, n),
            "mass": rng.uniform(0.7, 1.3, n),
            "friction": rng.uniform(0.05, 0.3, n),
            "strength": rng.uniform(1, 4, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform([-2, -2, -1, -1], [2, 2, 1, 1], (n, 4))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        def slope(now: Floats) -> Floats:
            return self._slope(now, own, own["strength"] * actions[:, 0])

        return runge_kutta(slope, runge_kutta(slope, states, 0.025), 0.025)

    @staticmethod
    def _slope(states: Floats, own: Parameters, torque: Floats) -> Floats:
        """Lagrange's equations of rods: the first of its own length, the second of 1 m and 1 kg."""
        first, second, speed, turning = states.T
        length, mass = own["length"], own["mass"]
        coupling = length / 2 * np.cos(second)
        near = mass * length**2 / 3 + length**2 + 1 / 3 + 2 * coupling
        both = 1 / 3 + coupling
        weight = 9.81 / 2 * np.sin(first + second)
        swing = length / 2 * np.sin(second)
        force1 = swing * (turning**2 + 2 * turning * speed) - weight
        force1 -= 9.81 * (mass / 2 + 1) * length * np.sin(first) + own["friction"] * speed
        force2 = torque - swing * speed**2 - weight - own["friction"] * turning
        determinant = near / 3 - both**2
        faster1 = (force1 / 3 - both * force2) / determinant
        faster2 = (near * force2 - both * force1) / determinant
        return np.stack([speed, turning, faster1, faster2], axis=1)

    def observe(self, states: Floats) -> Floats:
        angles = states[:, :2]
        pairs = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(states), 4)
        return np.concatenate([pairs, states[:, 2:]], axis=1)


class CartPole(World):
    """A pole to be balanced by pushes to the left or right, under a controller that often errs."""

    name = "cartpole"
    obs_names = ("position", "velocity", "angle", "speed")
    action_names = ("push",)
    choices = 2
    steps = 200
    shaken = (0.0, 1.0, 0.0, 1.0)
    ends = True

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {"force": rng.uniform(2, 18, n), "length": rng.uniform(0.15, 0.85, n)}

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(-0.05, 0.05, (n, 4))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        velocity, angle, speed = states.T[1:]
        cosine, sine, length = np.cos(angle), np.sin(angle), own["length"]
        force = own["force"] * (2 * actions - 1)
        push = (force + 0.1 * length * speed**2 * sine) / 1.1
        turn = (9.8 * sine - cosine * push) / (length * (4 / 3 - 0.1 * cosine**2 / 1.1))
        slide = push - 0.1 * length * turn * cosine / 1.1
        return states + 0.02 * np.stack([velocity, slide, speed, turn], axis=1)

    def ended(self, states: Floats) -> NDArray[np.bool_]:
        return np.asarray((np.abs(states[:, [0, 2]]) > [2.4, np.deg2rad(12)]).any(axis=1))

    def policy(self, rng: np.random.Generator, n: int, steps: int, other: bool) -> Policy:
        gains = np.array([0.05, 0.1, 1.0, 0.5] if other else [0.02, 0.05, 1.0, 0.25])
        errs = rng.random((n, steps)) < (0.2 if other else 0.35)
        chance = rng.integers(0, 2, (n, steps))

        def act(time: int, states: Floats) -> NDArray[Any]:
            return np.where(errs[:, time], chance[:, time], states @ gains > 0)

        return act


class HiddenCartPole(CartPole):
    """The same without its velocities."""

    name = "cartpole-hidden"
    obs_names = ("position", "angle")
    lag = 2

    def observe(self, states: Floats) -> Floats:
        return states[:, [0, 2]]


class Ball(World):
    """A ball with a thruster on a floor: bounces are of each agent's own restitution."""

    name = "ball"
    obs_names = ("height", "velocity")
    action_names = ("thrust",)
    hold = 0.8
    shaken = (0.1, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {"restitution": rng.uniform(0.4, 0.95, n), "thrust": rng.uniform(2, 8, n)}

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform([0.2, -1], [3, 1], (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        height, velocity = states.T
        velocity = velocity + 0.05 * (own["thrust"] * actions[:, 0] - 9.81)
        height = height + 0.05 * velocity
        below = height < 0
        back = np.where(below, -own["restitution"], 1.0)
        return np.stack([height * back, velocity * back], axis=1)


class Gusts(World):
    """A mass on a spring in wind: process noise grows with the speed."""

    name = "gusts"
    obs_names = ("position", "velocity")
    action_names = ("force",)
    shaken = (0.2, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "spring": rng.uniform(0.5, 3, n),
            "damping": rng.uniform(0.1, 0.8, n),
            "strength": rng.uniform(0.5, 2, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(-1, 1, (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        position, velocity = states.T
        pull = own["strength"] * actions[:, 0] - own["spring"] * (position + 0.3 * position**3)
        velocity = velocity + 0.1 * (pull - own["damping"] * velocity)
        return np.stack([position + 0.1 * velocity, velocity], axis=1)

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        local = size * (0.2 + np.abs(states[:, 1:]))
        return states + local * np.array(self.shaken) * rng.standard_normal(states.shape)
