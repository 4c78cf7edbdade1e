"""Simulators that are quick to fit, with records: patients of a table, and CartPoles."""

from __future__ import annotations

import numpy as np

from persim_gym.explorer.record import Record
from persim_gym.explorer.scene import Scene
from persim_gym.learned import Hierarchical, PerSim
from persim_gym.offline import Transitions

NAMES = tuple(f"P-{k:02d}" for k in range(1, 7))
STEPS = 24


def patients(steps: int = STEPS, reward: bool = True) -> Transitions:
    """Patients who differ in how they answer two drugs; the second half of each is an episode."""
    rng = np.random.default_rng(0)
    n = len(NAMES)
    gain = rng.uniform(0.5, 1.5, (n, 2))
    level = rng.uniform(80, 120, n)
    rows: dict[str, list[object]] = {"obs": [], "next": [], "action": []}
    values = np.stack([level, np.full(n, 10.0)], axis=1)
    for _ in range(steps):
        dose = np.stack([rng.uniform(0, 30, n), rng.uniform(0, 2, n)], axis=1)
        after = values + np.stack(
            [0.4 * gain[:, 0] * dose[:, 0] - 0.06 * values[:, 0],
             0.3 * gain[:, 1] * dose[:, 1] - 0.04 * values[:, 1]],
            axis=1,
        )  # fmt: skip
        for name, part in zip(rows, (values, after, dose), strict=True):
            rows[name].append(part)
        values = after
    flat = {name: np.stack(part, axis=1).reshape(n * steps, -1) for name, part in rows.items()}
    return Transitions(
        agent=np.repeat(np.arange(n), steps),
        obs=flat["obs"].astype(np.float32),
        action=flat["action"].astype(np.float32),
        next_obs=flat["next"].astype(np.float32),
        reward=flat["next"][:, 0] / 100 if reward else np.zeros(n * steps),
        terminated=np.zeros(n * steps, dtype=bool),
        truncated=np.tile(np.arange(steps) % (steps // 2) == steps // 2 - 1, n),
        episode=np.arange(n * steps) // (steps // 2),
        num_agents=n,
        task_name="patients",
        dataset_id="patients",
        agent_names=NAMES,
        obs_names=("ferritin", "hb"),
        action_names=("iron", "epo"),
    )


def fitted(data: Transitions) -> PerSim:
    return PerSim.fit(data, Hierarchical(degree=1), progress=False)


def scene_of(sim: PerSim, data: Transitions | None) -> Scene:
    return Scene(sim, Record(sim, data), path="runs/patients")
