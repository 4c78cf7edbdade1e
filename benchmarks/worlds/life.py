"""Worlds of bodies, populations and rooms, and the plainest of all, a linear one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .world import Floats, Parameters, Policy, World, runge_kutta, sometimes


def lognormal(rng: np.random.Generator, median: float, spread: float, n: int) -> Floats:
    """Values ``[n]`` of a median, whose logarithms have a standard deviation."""
    return median * np.exp(spread * rng.standard_normal(n))


class Positive(World):
    """A world of amounts: process noise multiplies."""

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        return states * np.exp(size * rng.standard_normal(states.shape))


class OneCompartment(Positive):
    """A drug that is given now and then and eliminated by an enzyme that saturates."""

    name = "pk1"
    obs_names = ("concentration",)
    action_names = ("dose",)
    steps = 60

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "volume": lognormal(rng, 30, 0.3, n),
            "fastest": lognormal(rng, 60, 0.4, n),
            "half": lognormal(rng, 4, 0.4, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(0, 10, (n, 1))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        amount = states + actions / own["volume"][:, None]
        fastest = (own["fastest"] / own["volume"])[:, None]
        half = own["half"][:, None]
        for _ in range(5):
            amount = runge_kutta(lambda c: -fastest * c / (half + np.abs(c)), amount, 0.2)
        return np.maximum(amount, 0.0)

    def policy(self, rng: np.random.Generator, n: int, steps: int, other: bool) -> Policy:
        share, most = (0.5, 150.0) if other else (0.2, 300.0)
        return self.follow(sometimes(rng, n, steps, share, most)[..., None])


class Prey(Positive):
    """Prey that are hunted and harvested, and their predators."""

    name = "prey"
    obs_names = ("prey", "predators")
    action_names = ("harvest",)
    low, high = (0.0,), (0.5,)
    hold = 0.7

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "birth": rng.uniform(0.7, 1.3, n),
            "hunt": rng.uniform(0.3, 0.7, n),
            "death": rng.uniform(0.6, 1.4, n),
            "feed": rng.uniform(0.2, 0.6, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return np.exp(rng.uniform(-0.7, 1.1, (n, 2)))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        growth = own["birth"] - actions[:, 0]

        def slope(now: Floats) -> Floats:
            prey, predators = now.T
            rates = growth - own["hunt"] * predators, own["feed"] * prey - own["death"]
            return np.stack([prey * rates[0], predators * rates[1]], axis=1)

        return np.maximum(runge_kutta(slope, states, 0.1), 1e-3)


class Epidemic(Positive):
    """Susceptible and infected shares under distancing, with rates of each town's own."""

    name = "epidemic"
    obs_names = ("susceptible", "infected")
    action_names = ("distancing",)
    low, high = (0.0,), (0.8,)
    hold = 0.9
    steps = 80

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "contact": rng.uniform(0.25, 0.6, n),
            "recovery": rng.uniform(0.05, 0.15, n),
            "waning": rng.uniform(0.005, 0.03, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        infected = rng.uniform(0.005, 0.1, n)
        return np.stack([rng.uniform(0.4, 0.9, n), infected], axis=1)

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        contact = own["contact"] * (1 - actions[:, 0])

        def slope(now: Floats) -> Floats:
            susceptible, infected = now.T
            new, well = contact * susceptible * infected, own["recovery"] * infected
            waned = own["waning"] * (1 - susceptible - infected)
            return np.stack([waned - new, new - well], axis=1)

        return runge_kutta(slope, states, 1.0)


class Glucose(Positive):
    """Blood glucose after meals and boluses; gut, insulin and its effect are hidden."""

    name = "glucose"
    obs_names = ("glucose",)
    action_names = ("carbohydrates", "insulin")
    steps = 150
    lag = 4

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "basal": rng.uniform(90, 160, n),
            "own": rng.uniform(0.01, 0.04, n),
            "sensitivity": lognormal(rng, 0.012, 0.3, n),
            "uptake": rng.uniform(0.1, 0.25, n),
            "effect": rng.uniform(0.1, 0.3, n),
            "clearance": rng.uniform(0.15, 0.35, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform([80, 0, 0, 0], [200, 30, 1, 1], (n, 4))

    def observe(self, states: Floats) -> Floats:
        return states[:, :1]

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        def slope(now: Floats) -> Floats:
            glucose, gut, insulin, effect = now.T
            meal = own["uptake"] * gut
            back = own["own"] * (own["basal"] - glucose)
            return np.stack(
                [
                    back + meal - own["sensitivity"] * effect * glucose,
                    -meal,
                    -own["clearance"] * insulin,
                    own["effect"] * (insulin - effect),
                ],
                axis=1,
            )

        states = states.copy()
        states[:, 1:3] += actions
        return np.maximum(runge_kutta(slope, states, 1.0), [20.0, 0.0, 0.0, 0.0])

    def policy(self, rng: np.random.Generator, n: int, steps: int, other: bool) -> Policy:
        shares, most = ((0.08, 0.05), (90.0, 5.0)) if other else ((0.15, 0.15), (50.0, 3.0))
        doses = [sometimes(rng, n, steps, *how) for how in zip(shares, most, strict=True)]
        return self.follow(np.stack(doses, axis=2))


class Growth(Positive):
    """Gompertz growth of a tumour, held back by a drug to which each is sensitive in its way."""

    name = "growth"
    obs_names = ("size",)
    action_names = ("drug",)
    low, high = (0.0,), (1.0,)
    hold = 0.8
    steps = 60

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "rate": rng.uniform(0.05, 0.2, n),
            "capacity": lognormal(rng, 8, 0.3, n),
            "sensitivity": rng.uniform(0.05, 0.5, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return np.exp(rng.uniform(-1, 1.5, (n, 1)))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        kill = own["sensitivity"] * actions[:, 0] / (0.3 + actions[:, 0])
        shrink = np.exp(-own["rate"])  # the exact solution of a day under a constant drug
        level = np.log(own["capacity"]) - kill / own["rate"]
        return np.exp(level + shrink * (np.log(states[:, 0]) - level))[:, None]


class Room(World):
    """A room and its walls between a heater and the cold: it settles, and little is seen then."""

    name = "room"
    obs_names = ("air", "wall")
    action_names = ("heating",)
    low, high = (0.0,), (1.0,)
    hold = 0.95
    shaken = (0.5, 0.1)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "power": rng.uniform(2, 6, n),
            "exchange": rng.uniform(0.1, 0.5, n),
            "loss": rng.uniform(0.02, 0.15, n),
            "outside": rng.uniform(-5, 10, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(8, 24, (n, 2))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        air, wall = states.T
        flow = own["exchange"] * (wall - air)
        warmed = own["power"] * actions[:, 0] + flow + 0.05 * (own["outside"] - air)
        cooled = -0.3 * flow + own["loss"] * (own["outside"] - wall)
        return states + 0.5 * np.stack([warmed, cooled], axis=1)


class Switch(World):
    """A threshold of each agent's own: of no low rank, and not smooth."""

    name = "switch"
    obs_names = ("level",)
    hold = 0.9

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {"slope": rng.uniform(0.5, 5, n), "threshold": rng.uniform(-1, 1, n)}

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(-1, 1, (n, 1))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        beyond = np.maximum(0.0, states[:, 0] - own["threshold"])
        return states + 0.1 * (actions[:, 0] - own["slope"] * beyond)[:, None]


class Linear(World):
    """Three coordinates that spiral inwards, each agent in a linear way of its own."""

    name = "linear"
    obs_names = ("x", "y", "z")
    action_names = ("first", "second")
    low, high = (-1.0, -1.0), (1.0, 1.0)
    shaken = (1.0, 1.0, 1.0)

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {
            "turn": rng.uniform(0.1, 0.5, n),
            "decay": rng.uniform(0.02, 0.15, n),
            "mix": rng.uniform(-0.1, 0.1, n),
            "first": rng.uniform(0.1, 0.5, n),
            "second": rng.uniform(-0.5, 0.5, n),
        }

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(-2, 2, (n, 3))

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        x, y, z = states.T
        keep, cosine, sine = 1 - own["decay"], np.cos(own["turn"]), np.sin(own["turn"])
        pushed = x + own["first"] * actions[:, 0], y + own["second"] * actions[:, 1]
        return np.stack(
            [
                keep * (cosine * pushed[0] - sine * pushed[1]),
                keep * (sine * pushed[0] + cosine * pushed[1]),
                keep * z + own["mix"] * x + 0.2 * actions[:, 1],
            ],
            axis=1,
        )
