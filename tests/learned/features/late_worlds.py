"""A level that actions move some steps later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persim_gym.learned.data import Data
from tests.learned.worlds import PlainTask, transitions


def late_level(
    late: Sequence[int],
    *,
    now: bool = False,
    choices: int = 0,
    noise: float = 0.0,
    process: float = 0.0,
    agents: int = 30,
    steps: int = 100,
    hold: float = 0.5,
) -> Data:
    """One trajectory of each agent.

    Args:
        late: Steps after which an agent's action acts, one of these for each agent.
        now: Whether there is a second action that acts at once.
        choices: Discrete actions; 0 for continuous ones.
        noise: Standard deviation of observation noise, in units of the level's.
        process: Standard deviation of process noise.
        agents: Agents.
        steps: Steps of each.
        hold: Share of steps that repeat the last action.
    """
    rng = np.random.default_rng(0)
    planned = rng.uniform(-1, 1, (agents, steps, 2 if now else 1))
    if choices:
        planned = rng.integers(0, choices, planned.shape).astype(float)
    for t in range(1, steps):
        same = rng.random(agents) < hold
        planned[same, t] = planned[same, t - 1]
    force = planned[..., 0] - (choices - 1) / 2 if choices else planned[..., 0]
    own = np.array(late)[np.arange(agents) % len(late)]
    gain, leak = rng.uniform(0.1, 0.5, agents), rng.uniform(0.05, 0.3, agents)
    level, walk = rng.uniform(-2, 2, agents), []
    for t in range(steps + 1):
        walk.append(level)
        if t < steps:
            then = t - own
            came = np.where(then >= 0, force[np.arange(agents), np.maximum(then, 0)], 0.0)
            level = (1 - leak) * level - 0.05 * level * np.abs(level) + gain * came
            level = level + (0.2 * planned[:, t, 1] if now else 0.0)
            level = level + process * rng.normal(size=agents)
    seen = np.stack(walk, 1)[..., None]
    seen = seen + noise * seen.std() * rng.normal(size=seen.shape)
    before, after = (part.reshape(-1, 1) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    acted = planned.reshape(len(who), -1)
    task = PlainTask.of(1, actions=choices, action_dim=acted.shape[1])
    acted = acted[:, 0].astype(np.int64) if choices else acted
    return Data(transitions(who, before, acted, after), task)


def late_body(
    noise: float, *, agents: int = 40, steps: int = 100, seed: int = 0, hidden: bool = False
) -> Data:
    """A body on a spring that gives way: of place, speed and two actions, one three steps late.

    Args:
        noise: Standard deviation of observation noise.
        agents: Agents, with one trajectory each.
        steps: Steps of each.
        seed: Of everything.
        hidden: Whether speeds are not seen.
    """
    rng = np.random.default_rng(seed)
    pushes = rng.uniform(-1, 1, (agents, steps, 2))
    late = np.concatenate([np.zeros((agents, 3)), pushes[..., 1]], axis=1)
    stiff, place, speed = rng.uniform(0.3, 1.5, agents), *rng.normal(size=(2, agents))
    walk = [np.stack([place, speed], axis=1)]
    for t in range(steps):
        pull = stiff * (place + 0.5 * np.sin(2 * place)) + 0.3 * speed
        speed = speed + 0.2 * (pushes[:, t, 0] + 1.5 * late[:, t] - pull)
        place = place + 0.2 * speed
        walk.append(np.stack([place, speed], axis=1))
    true = np.stack(walk, axis=1)
    seen = true + noise * rng.normal(size=true.shape)
    d = 1 if hidden else 2
    before, after = (part[..., :d].reshape(-1, d) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    task = PlainTask.of(d, action_dim=2)
    return Data(transitions(who, before, pushes.reshape(-1, 2), after), task)
