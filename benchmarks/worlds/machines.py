"""Worlds of machines: with a clock, with a hidden switch, with a late hand, with a store."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .world import Floats, Parameters, World


class House(World):
    """A house under a daily cycle; the hour is a column from 0 to 23."""

    name = "house"
    obs_names = ("hour", "indoor")
    action_names = ("heating",)
    low, high = (0.0,), (1.0,)
    hold = 0.8
    steps = 120
    shaken = (0.0, 0.2)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "power": rng.uniform(2, 5, n),
            "loss": rng.uniform(0.05, 0.3, n),
            "mean": rng.uniform(0, 12, n),
            "swing": rng.uniform(2, 8, n),
            "latest": rng.uniform(12, 17, n),
            "sun": rng.uniform(0, 1.5, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return np.stack([rng.integers(0, 24, n).astype(float), rng.uniform(10, 24, n)], axis=1)

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        hour, indoor = states.T
        day = 2 * np.pi / 24
        outside = own["mean"] + own["swing"] * np.cos(day * (hour - own["latest"]))
        sun = own["sun"] * np.maximum(0.0, np.cos(day * (hour - 13)))
        warmed = own["power"] * actions[:, 0] + own["loss"] * (outside - indoor) + sun
        return np.stack([(hour + 1) % 24, indoor + warmed], axis=1)


class Thermostat(World):
    """A heating that switches at two thresholds: whether it is on is hidden."""

    name = "thermostat"
    obs_names = ("temperature",)
    action_names = ("window",)
    low, high = (0.0,), (1.0,)
    hold = 0.9
    steps = 150
    lag = 3
    shaken = (0.3, 0.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "set": rng.uniform(18, 23, n),
            "band": rng.uniform(0.5, 1.5, n),
            "power": rng.uniform(0.6, 1.2, n),
            "loss": rng.uniform(0.01, 0.03, n),
            "outside": rng.uniform(0, 10, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        on = rng.integers(0, 2, n).astype(float)
        return np.stack([rng.uniform(15, 25, n), on], axis=1)

    def observe(self, states: Floats) -> Floats:
        return states[:, :1]

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        warmth, on = states.T
        on = np.where(warmth < own["set"] - own["band"], 1.0, on)
        on = np.where(warmth > own["set"] + own["band"], 0.0, on)
        lost = own["loss"] * (1 + 2 * actions[:, 0]) * (warmth - own["outside"])
        return np.stack([warmth + own["power"] * on - lost, on], axis=1)


class Delay(World):
    """A level that an action moves six steps later."""

    name = "delay"
    obs_names = ("level",)
    action_names = ("inflow",)
    steps = 100
    lag = 7
    late = 6

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "gain": rng.uniform(0.1, 0.5, n),
            "leak": rng.uniform(0.05, 0.3, n),
            "bend": rng.uniform(0.0, 0.1, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return np.concatenate([rng.uniform(-2, 2, (n, 1)), np.zeros((n, self.late))], axis=1)

    def observe(self, states: Floats) -> Floats:
        return states[:, :1]

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        noise = np.zeros_like(states)
        noise[:, 0] = size * rng.standard_normal(len(states))
        return states + noise

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        level = states[:, 0]
        lost = own["leak"] * level + own["bend"] * level * np.abs(level)
        level = level - lost + own["gain"] * states[:, -1]
        return np.column_stack([level, actions[:, 0], states[:, 1:-1]])


class Battery(World):
    """A store between empty and full, with losses both ways, that power warms."""

    name = "battery"
    obs_names = ("charge", "temperature")
    action_names = ("power",)
    hold = 0.8
    shaken = (0.01, 0.2)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "efficiency": rng.uniform(0.75, 0.98, n),
            "capacity": rng.uniform(5, 15, n),
            "heat": rng.uniform(1, 4, n),
            "cooling": rng.uniform(0.05, 0.2, n),
            "leak": rng.uniform(0, 0.004, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform([0, 15], [1, 30], (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        charge, warmth = states.T
        power = actions[:, 0]
        kept = np.where(power > 0, own["efficiency"] * power, power / own["efficiency"])
        following = charge + kept / own["capacity"] - own["leak"] * charge
        warmed = own["heat"] * power**2 * (1.3 - charge) - own["cooling"] * (warmth - 20)
        return np.stack([np.clip(following, 0, 1), warmth + warmed], axis=1)

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        shaken = super().disturb(states, size, rng)
        shaken[:, 0] = np.clip(shaken[:, 0], 0, 1)
        return shaken
