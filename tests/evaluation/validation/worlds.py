"""Patients whose course is known: what a validation must praise and condemn."""

from __future__ import annotations

import numpy as np

from persim_gym.offline.transitions import Transitions

COLUMNS = ("glucose", "weight")


def patients(
    agents: int = 12,
    steps: int = 40,
    *,
    noise: float = 0.02,
    differ: float = 1.0,
    seed: int = 0,
    dose: float | None = None,
) -> Transitions:
    """Patients that respond to a dose, each in its own way; glucose in the hundreds, weight not.

    Args:
        agents: How many.
        steps: Of each one's record.
        noise: Standard deviation of what is added to each step, in that of the changes.
        differ: How much they differ; 0 for not at all.
        seed: Of everything random.
        dose: Least dose, and least of what it may differ from; by default any dose is given.
    """
    rng = np.random.default_rng(seed)
    gain = 1.0 + differ * rng.uniform(-0.8, 0.8, agents)
    level = 100.0 + 40.0 * differ * rng.normal(size=agents)
    rows = np.zeros((agents, steps + 1, 2))
    actions = rng.uniform(0.0, 1.0, (agents, steps, 1))
    if dose is not None:
        actions[:] = dose
    rows[:, 0] = np.stack([level + 30 * rng.normal(size=agents), 5 + rng.normal(size=agents)], 1)
    for t in range(steps):
        now, acted = rows[:, t], actions[:, t, 0]
        change = np.stack(
            [
                0.3 * (level - now[:, 0]) - 40.0 * gain * (acted - 0.5),
                0.2 * (5.0 - now[:, 1]) + gain * (acted - 0.5),
            ],
            axis=1,
        )
        rows[:, t + 1] = now + change + noise * np.array([15.0, 0.4]) * rng.normal(size=(agents, 2))
    return as_data(rows, actions)


def as_data(rows: np.ndarray, actions: np.ndarray) -> Transitions:
    """Records ``[N, T + 1, d]`` and actions ``[N, T, a]`` as transitions."""
    agents, steps = actions.shape[:2]
    agent = np.repeat(np.arange(agents), steps)
    return Transitions(
        agent=agent,
        obs=rows[:, :-1].reshape(-1, rows.shape[2]).astype(np.float32),
        action=actions.reshape(-1, actions.shape[2]).astype(np.float32),
        next_obs=rows[:, 1:].reshape(-1, rows.shape[2]).astype(np.float32),
        reward=np.zeros(len(agent)),
        terminated=np.zeros(len(agent), dtype=np.bool_),
        truncated=np.tile(np.arange(steps) == steps - 1, agents),
        episode=agent,
        num_agents=agents,
        task_name="patients",
        agent_names=tuple(f"patient {k}" for k in range(agents)),
        obs_names=COLUMNS[: rows.shape[2]],
        action_names=("dose",),
    )
