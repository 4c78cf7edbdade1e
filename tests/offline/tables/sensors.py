"""Columns of sensors in which nothing is wrong: what they show has happened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AGENTS, STEPS = 12, 100
FOLLOWS = np.arange(1, AGENTS * STEPS) % STEPS > 0
#: Columns and an action ``[n, d]``, ``[n, 1]``.
World = tuple[Floats, Floats]


def walk(rng: np.random.Generator, memory: float = 0.95) -> Floats:
    """A column that goes on ``[AGENTS, STEPS]``."""
    noise = rng.normal(size=(AGENTS, STEPS))
    for t in range(1, STEPS):
        noise[:, t] += memory * noise[:, t - 1]
    return noise


def smooth(rng: np.random.Generator) -> World:
    """Two columns of different size, the second one with an offset."""
    columns = [walk(rng).ravel(), 1e4 + 50 * walk(rng, 0.8).ravel()]
    return np.stack(columns, axis=1), rng.normal(size=(len(columns[0]), 1))


def reset(rng: np.random.Generator) -> World:
    """A sum that an event puts back to zero, and a speed that has a dead zone."""
    total, speed = np.zeros((AGENTS, STEPS)), walk(rng)
    steps, events = np.abs(walk(rng)), rng.random((AGENTS, STEPS)) < 0.02
    for t in range(1, STEPS):
        total[:, t] = np.where(events[:, t], 0.0, total[:, t - 1] + steps[:, t])
    speed[np.abs(speed) < 0.05] = 0.0
    return np.stack([total.ravel(), speed.ravel()], axis=1), rng.normal(size=(speed.size, 1))


def landing(rng: np.random.Generator) -> World:
    """A height that is exactly zero on the ground, for one row."""
    height, speed = np.empty((AGENTS, STEPS)), np.full(AGENTS, 3.0)
    here = rng.uniform(5, 10, AGENTS)
    for t in range(STEPS):
        height[:, t] = here
        here, speed = here + speed, speed - 1.0
        low = here <= 0
        here, speed = np.where(low, 0.0, here), np.where(low, rng.uniform(3, 6, AGENTS), speed)
    return height.reshape(-1, 1), rng.normal(size=(height.size, 1))


def switching(rng: np.random.Generator) -> World:
    """A level that leaps and stays for some rows, or for one."""
    values, actions = smooth(rng)
    for row in rng.choice(AGENTS * STEPS - 5, 40, replace=False):
        values[row : row + rng.integers(1, 5), 0] += 40
    return values, actions


def overshooting(rng: np.random.Generator) -> World:
    """A level that leaps further than where it stays, and sinks slowly."""
    level, leaps = walk(rng), rng.random((AGENTS, STEPS)) < 0.01
    for who, when in np.argwhere(leaps):
        level[who, when:] += 60 * np.exp(-0.05 * np.arange(STEPS - when))
        level[who, when] += 40
    return level.reshape(-1, 1), rng.normal(size=(level.size, 1))


def bouncing(rng: np.random.Generator) -> World:
    """A ball: its speed turns round."""
    values, actions = smooth(rng)
    speed = np.cumsum(np.full((AGENTS, STEPS), -0.3), axis=1) + rng.uniform(0, 9, (AGENTS, 1))
    speed = (speed % 9.0) - 4.5
    return np.stack([values[:, 0], speed.ravel()], axis=1), actions


def dosed(rng: np.random.Generator) -> World:
    """An amount that a dose raises, and that is nearly gone a step later."""
    dose = np.where(rng.random((AGENTS, STEPS)) < 0.03, 50.0, 0.0)
    amount = walk(rng)
    amount[:, 1:] += dose[:, :-1]
    amount[:, 2:] += 0.1 * dose[:, :-2]
    return np.stack([amount.ravel(), walk(rng).ravel()], axis=1), dose.reshape(-1, 1)


def touching(rng: np.random.Generator) -> World:
    """A force that is there for one row where a pendulum goes by the middle."""
    height, force = walk(rng, 0.7), walk(rng)
    force[:, 1:] += np.where(np.abs(height[:, :-1]) < 0.03, 200.0, 0.0)
    return np.stack([height.ravel(), force.ravel()], axis=1), rng.normal(size=(height.size, 1))


def struck(rng: np.random.Generator) -> World:
    """A pressure that leaps for one row when a speed changes most."""
    speed, pressure = walk(rng), walk(rng)
    hits = rng.random((AGENTS, STEPS)) < 0.01
    speed += np.cumsum(np.where(hits, 6.0 * rng.choice([-1, 1], hits.shape), 0.0), axis=1)
    pressure[hits] += 300.0
    return np.stack([speed.ravel(), pressure.ravel()], axis=1), rng.normal(size=(hits.size, 1))


def raining(rng: np.random.Generator) -> World:
    """Rain: most of the time there is little, and nothing of it goes on."""
    rain = rng.exponential(size=AGENTS * STEPS) * np.where(rng.random(AGENTS * STEPS) < 0.01, 90, 1)
    return np.stack([rain, walk(rng).ravel()], axis=1), rng.normal(size=(len(rain), 1))


def counted(rng: np.random.Generator) -> World:
    """Counts of rare events, and a flag."""
    counts = rng.poisson(0.02, AGENTS * STEPS) * rng.integers(1, 30, AGENTS * STEPS)
    flag = (rng.random(AGENTS * STEPS) < 0.01).astype(float)
    return np.stack([counts.astype(float), flag], axis=1), rng.normal(size=(len(flag), 1))


def turning(rng: np.random.Generator) -> World:
    """An angle that wraps, and shakes where it does."""
    angle = np.cumsum(0.3 * rng.normal(size=(AGENTS, STEPS)), axis=1).ravel() + np.pi
    return (np.pi - (np.pi - angle) % (2 * np.pi))[:, None], rng.normal(size=(angle.size, 1))


def monthly(rng: np.random.Generator) -> World:
    """A peak at the end of every month, on another day for each agent."""
    day = np.arange(STEPS) + rng.integers(0, 25, (AGENTS, 1))
    return np.where(day % 25 == 0, 200.0, walk(rng)).reshape(-1, 1), rng.normal(size=(day.size, 1))


def holidays(rng: np.random.Generator) -> World:
    """A few days on which hardly anyone comes, to no agent."""
    level = 500 + walk(rng)
    level[:, [11, 40, 58, 90]] -= 300
    return level.reshape(-1, 1), rng.normal(size=(level.size, 1))


REAL: list[Callable[[np.random.Generator], World]] = [
    smooth,
    reset,
    landing,
    switching,
    overshooting,
    bouncing,
    dosed,
    touching,
    struck,
    raining,
    counted,
    turning,
    monthly,
    holidays,
]
