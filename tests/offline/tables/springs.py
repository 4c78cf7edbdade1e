"""Springs that are pushed, with wrong values among their rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AGENTS, STEPS = 20, 80
FOLLOWS = np.arange(1, AGENTS * STEPS) % STEPS > 0
AGENT = np.arange(AGENTS * STEPS) // STEPS


def driven(seed: int, *, heavy: bool = False, walls: bool = False) -> tuple[Floats, Floats]:
    """A place and a speed under a force, each agent of its own mass ``[n, 2]``, ``[n, 1]``."""
    rng = np.random.default_rng(seed)
    mass = rng.uniform(0.5, 2.0, AGENTS)
    force = rng.uniform(-1, 1, (AGENTS, STEPS))
    noise = rng.standard_t(2, (AGENTS, STEPS)) if heavy else np.zeros((AGENTS, STEPS))
    place, speed = rng.normal(size=AGENTS), np.zeros(AGENTS)
    rows = np.empty((AGENTS, STEPS, 2))
    for t in range(STEPS):
        rows[:, t] = np.stack([place, speed], axis=1)
        speed = speed + 0.2 * (force[:, t] - 0.5 * place) / mass + 0.02 * noise[:, t]
        place = place + 0.2 * speed
        if walls:
            hit = np.abs(place) > 0.5
            place = np.where(hit, np.sign(place) * (1.0 - np.abs(place)), place)
            speed = np.where(hit, -speed, speed)
    return rows.reshape(-1, 2), force.reshape(-1, 1)


def with_wrong(values: Floats, share: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Some values off by several standard deviations, and which."""
    rng = np.random.default_rng(5)
    bad = rng.random(values.shape) < share
    away = rng.normal(0, 8 * values.std(axis=0), values.shape)
    bad &= np.abs(away) > 0.3 * values.std(axis=0)
    return np.where(bad, values + away, values), bad
