"""Worlds of a ring of oscillators, a spring with a late hand, and a rider who falls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .world import Floats, Parameters, World, runge_kutta


class Ring(World):
    """Six oscillators in a ring that keep themselves going; an action pushes one of them."""

    name = "ring"
    obs_names = tuple(f"{what}{k}" for what in ("place", "speed") for k in range(6))
    choices = 7
    hold = 0.8
    shaken = (0.0,) * 6 + (1.0,) * 6

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "drive": rng.uniform(0.2, 1.2, n),
            "spring": rng.uniform(0.7, 1.3, n),
            "pull": rng.uniform(0.05, 0.5, n),
            "push": rng.uniform(0.5, 2, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.normal(0, 1, (n, 12))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        drive, spring, pull, push = (values[:, None] for values in own.values())
        pushed = push * (actions[:, None] == np.arange(1, 7))

        def slope(now: Floats) -> Floats:
            place, speed = now[:, :6], now[:, 6:]
            apart = np.roll(place, 1, 1) + np.roll(place, -1, 1) - 2 * place
            force = drive * (1 - place**2) * speed - spring * place + pull * apart + pushed
            return np.concatenate([speed, force], axis=1)

        for _ in range(2):
            states = runge_kutta(slope, states, 0.1)
        return states


class LateSpring(World):
    """A body on a spring that gives way in the middle; one of two hands acts three steps later."""

    name = "late-spring"
    obs_names = ("place", "speed")
    action_names = ("now", "late")
    low, high = (-1.0, -1.0), (1.0, 1.0)
    lag = 4
    shaken = (0.0, 1.0, 0.0, 0.0, 0.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "spring": rng.uniform(0.3, 1.5, n),
            "drag": rng.uniform(0.1, 0.5, n),
            "now": rng.uniform(0.5, 2, n),
            "late": rng.uniform(0.5, 2, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return np.column_stack([rng.normal(0, 1, (n, 2)), np.zeros((n, 3))])

    def observe(self, states: Floats) -> Floats:
        return states[:, :2]

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        place, speed = states[:, 0], states[:, 1]
        pull = own["spring"] * (place + 0.5 * np.sin(2 * place)) + own["drag"] * speed
        force = own["now"] * actions[:, 0] + own["late"] * states[:, 4] - pull
        speed = speed + 0.2 * force
        return np.column_stack([place + 0.2 * speed, speed, actions[:, 1], states[:, 2:4]])


class Rider(World):
    """A rider on a road who leans, and falls or leaves the road: records end early."""

    name = "rider"
    obs_names = ("place", "speed", "lean", "rate")
    choices = 3
    hold = 0.6
    ends = True
    steps = 120
    shaken = (0.0, 1.0, 0.0, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "falls": rng.uniform(0.2, 0.6, n),
            "force": rng.uniform(0.5, 1.5, n),
            "drag": rng.uniform(0.05, 0.3, n),
            "grip": rng.uniform(0.5, 2, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.normal(0, 0.15, (n, 4))

    def ended(self, states: Floats) -> NDArray[np.bool_]:
        return (np.abs(states[:, 0]) > 3) | (np.abs(states[:, 2]) > 1)

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        place, speed, lean, rate = states.T
        force = own["force"] * (actions - 1)
        held = 0.6 * np.tanh(own["grip"] * speed)
        rate = rate + 0.1 * (2 * own["falls"] * np.sin(lean) - held + 0.3 * force)
        speed = speed + 0.1 * (force - own["drag"] * speed * np.abs(speed) - 0.3 * lean)
        return np.stack([place + 0.1 * speed, speed, lean + 0.1 * rate, rate], axis=1)
