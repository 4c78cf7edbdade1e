"""Worlds of heating, stocks, wear, a reactor, a virus, a chain of springs and tanks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .life import lognormal
from .world import Floats, Parameters, World, runge_kutta


class Heating(World):
    """A heat pump that follows a set point, within its power; the hour is a column."""

    name = "heating"
    obs_names = ("inside", "outside", "power", "hour")
    action_names = ("wanted",)
    low, high = (17.0,), (23.0,)
    hold = 0.9
    steps = 168
    shaken = (5.0, 50.0, 0.0, 0.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "loss": lognormal(rng, 0.08, 0.3, n),
            "gain": lognormal(rng, 0.6, 0.2, n),
            "most": rng.uniform(3, 8, n),
            "swing": rng.uniform(2, 6, n),
            "mean": rng.uniform(-2, 8, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        hour = rng.integers(0, 24, n).astype(float)
        return np.stack([rng.uniform(17, 22, n), rng.uniform(0, 8, n), np.zeros(n), hour], axis=1)

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        inside, outside, _, hour = states.T
        power = np.clip(2 * (actions[:, 0] - inside), 0, own["most"])
        warmed = inside + own["gain"] * power - own["loss"] * (inside - outside)
        weather = own["mean"] + own["swing"] * np.sin(2 * np.pi * (hour - 8) / 24)
        drawn = outside + 0.5 * (weather - outside)
        return np.stack([warmed, drawn, power, (hour + 1) % 24], axis=1)


class Stock(World):
    """A store: what is ordered comes a step later, and no more is sold than there is."""

    name = "stock"
    obs_names = ("stock", "ordered", "demand")
    action_names = ("order",)
    low, high = (0.0,), (40.0,)
    hold = 0.2
    steps = 80
    shaken = (0.0, 0.0, 100.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "mean": lognormal(rng, 15, 0.3, n),
            "lasts": rng.uniform(0.4, 0.9, n),
            "lost": rng.uniform(0, 0.4, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform((0, 0, 5), (60, 20, 25), (n, 3))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        stock, ordered, demand = states.T
        sold = np.minimum(stock, demand)
        wanted = own["mean"] + own["lasts"] * (demand - own["mean"]) - own["lost"] * (demand - sold)
        return np.stack([stock - sold + ordered, actions[:, 0], np.maximum(wanted, 0)], axis=1)


class Wear(World):
    """A machine that wears the faster the hotter it is; a service takes most of the wear away."""

    name = "wear"
    obs_names = ("wear", "temperature")
    action_names = ("load", "service")
    low, high = (0.0, 0.0), (1.0, 1.0)
    shaken = (0.5, 20.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "rate": lognormal(rng, 0.02, 0.5, n),
            "heat": rng.uniform(20, 60, n),
            "cool": rng.uniform(0.1, 0.4, n),
            "mended": rng.uniform(0.6, 1, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform((0, 20), (0.5, 40), (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        wear, hot = states.T
        load, service = actions.T
        heated = own["heat"] * load * (1 + wear) - (hot - 20)
        worn = wear + own["rate"] * load * np.exp(np.clip((hot - 50) / 25, -5, 2))
        left = np.where(service > 0.95, 1 - own["mended"], 1.0) * np.minimum(worn, 3.0)
        return np.stack([left, hot + own["cool"] * heated], axis=1)


class Reactor(World):
    """A stirred tank whose reaction heats it: it may run away."""

    name = "reactor"
    obs_names = ("concentration", "temperature")
    action_names = ("coolant",)
    low, high = (280.0,), (320.0,)
    hold = 0.8
    shaken = (0.2, 20.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "rate": lognormal(rng, 7.2e10, 0.15, n),
            "exchange": lognormal(rng, 2.1, 0.15, n),
            "feed": rng.uniform(0.9, 1.1, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform((0.3, 300), (1, 360), (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        def slope(now: Floats) -> Floats:
            left, hot = now.T
            reacted = own["rate"] * np.exp(-8750 / np.clip(hot, 250, 440)) * left
            cooled = own["exchange"] * (actions[:, 0] - hot)
            return np.stack([own["feed"] - left - reacted, 350 - hot + 209 * reacted + cooled], 1)

        for _ in range(10):
            states = runge_kutta(slope, states, 0.01)
        return states


class Virus(World):
    """Cells, infected cells and virus under a drug; amounts go over orders of magnitude."""

    name = "virus"
    obs_names = ("cells", "infected", "virus")
    action_names = ("drug",)
    low, high = (0.0,), (1.0,)
    hold = 0.95
    steps = 120

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "infects": lognormal(rng, 2e-4, 0.3, n),
            "makes": lognormal(rng, 60, 0.3, n),
            "cleared": lognormal(rng, 2, 0.2, n),
            "dies": lognormal(rng, 0.5, 0.2, n),
            "works": rng.uniform(0.6, 0.97, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        amounts = lognormal(rng, 10, 1, n), lognormal(rng, 300, 1, n)
        return np.stack([rng.uniform(300, 1000, n), *amounts], axis=1)

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        infects = own["infects"] * (1 - own["works"] * actions[:, 0])

        def slope(now: Floats) -> Floats:
            cells, infected, virus = now.T
            new = infects * cells * virus
            made = own["makes"] * infected - own["cleared"] * virus
            return np.stack([20 - 0.02 * cells - new, new - own["dies"] * infected, made], axis=1)

        for _ in range(10):
            states = runge_kutta(slope, states, 0.05)
        return states

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        return states * np.exp(size * rng.standard_normal(states.shape))


class Chain(World):
    """Five bodies in a row on springs that give way; an action pushes one of them."""

    name = "chain"
    obs_names = tuple(f"{what}{k}" for what in ("place", "speed") for k in range(5))
    choices = 5
    hold = 0.7
    shaken = (0.0,) * 5 + (1.0,) * 5

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "spring": rng.uniform(0.5, 1.5, n),
            "drag": rng.uniform(0.1, 0.4, n),
            "push": rng.uniform(0.5, 2, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(-0.5, 0.5, (n, 10))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        place, speed = states[:, :5], states[:, 5:]
        gaps = np.diff(place, axis=1)
        pull = np.pad(gaps, ((0, 0), (0, 1))) - np.pad(gaps, ((0, 0), (1, 0)))
        pushed = own["push"][:, None] * (actions[:, None] == np.arange(5))
        force = own["spring"][:, None] * np.tanh(2 * pull) - 0.5 * place + pushed
        speed = speed + 0.2 * (force - own["drag"][:, None] * speed)
        return np.concatenate([place + 0.2 * speed, speed], axis=1)


class Tanks(World):
    """Two tanks, one above the other; water flows out by the root of the level, or over the top."""

    name = "tanks"
    obs_names = ("upper", "lower")
    action_names = ("inflow",)
    low, high = (0.0,), (3.0,)
    hold = 0.8

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "upper": rng.uniform(0.3, 0.8, n),
            "lower": rng.uniform(0.3, 0.8, n),
            "top": rng.uniform(4, 9, n),
            "leak": rng.uniform(0, 0.05, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(0, 4, (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        upper, lower = states.T
        down, out = own["upper"] * np.sqrt(upper), own["lower"] * np.sqrt(lower)
        filled = upper + 0.5 * (actions[:, 0] - down - own["leak"] * upper)
        passed = lower + 0.5 * (down - out)
        return np.stack([np.clip(filled, 0, own["top"]), np.clip(passed, 0, 6)], axis=1)

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        return np.maximum(super().disturb(states, size, rng), 0)
