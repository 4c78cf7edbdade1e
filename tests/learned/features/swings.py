"""Pendulums with friction, seen on a circle or on a compass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, transitions

AGENTS, STEPS = 30, 60


class Swing:
    """A pendulum with friction, seen as cosine and sine, or as an angle in [0, 360)."""

    def __init__(self, agents: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.pull = rng.uniform(0.1, 0.4, agents)
        self.push = rng.uniform(0.1, 0.4, agents)

    def step(
        self, agents: Any, angle: NDArray[Any], speed: NDArray[Any], action: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        faster = self.pull[agents] * np.sin(angle) + self.push[agents] * action - 0.05 * speed
        speed = speed + faster
        return angle + 0.3 * speed, speed

    def record(self, steps: int, seed: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
        """Angles and speeds ``[N, T + 1, 2]``, actions ``[N, T, 1]``."""
        rng = np.random.default_rng(seed)
        n = len(self.pull)
        actions = rng.uniform(-1, 1, (n, steps, 1))
        angle, speed = rng.uniform(-3, 3, n), rng.uniform(-1.5, 1.5, n)
        walk = [np.stack([angle, speed], 1)]
        for t in range(steps):
            angle, speed = self.step(np.arange(n), angle, speed, actions[:, t, 0])
            walk.append(np.stack([angle, speed], 1))
        return np.stack(walk, 1), actions


def data_of(seen: Any, world: Swing, steps: int = STEPS, seed: int = 1) -> Transitions:
    walk, actions = world.record(steps, seed)
    obs = seen(walk)
    n, d = len(obs), obs.shape[2]
    flat = (part.reshape(n * steps, d) for part in (obs[:, :-1], obs[:, 1:]))
    before, after = flat
    return transitions(np.repeat(np.arange(n), steps), before, actions.reshape(-1, 1), after)


TASK = PlainTask.of(3, action_dim=1)


def as_circle(states: NDArray[Any]) -> NDArray[Any]:
    angle, speed = states[..., 0], states[..., 1]
    return np.stack([np.cos(angle), speed, np.sin(angle)], -1)


def as_compass(states: NDArray[Any]) -> NDArray[Any]:
    return np.stack([np.rad2deg(states[..., 0]) % 360, states[..., 1]], -1)


SEEN = {"circle": (as_circle, TASK), "compass": (as_compass, PlainTask.of(2, action_dim=1))}
