"""Patients whose course is known: what a validation must praise and condemn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from persim_gym.evaluation.validation.scores import Scores
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions

COLUMNS = ("glucose", "weight")
#: Patients whose actions are made up, and steps of each one's record.
AGENTS, STEPS = 8, 60
#: Options of a fit that finds their law in a moment.
FIT: dict[str, Any] = {"method": "hierarchical", "degree": 1, "ensemble_size": 1}


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


def scores(
    own: float = 1.0,
    *,
    still: float = 3.0,
    pooled: float = 2.0,
    r2: float = 0.9,
    coverage: float = 0.95,
    count: int = 30,
) -> Scores:
    """Scores at 1 and 10 steps, the same everywhere."""
    errors = {"simulator": own, "persistence": still, "pooled": pooled, "linear": 2.0}
    return Scores(
        steps=(1, 10),
        agents=np.arange(3),
        count=np.array([count, count]),
        agent_count=np.full((3, 2), count // 3),
        rmse={name: np.full((2, 2), e) for name, e in errors.items()},
        agent_rmse={name: np.full((3, 2, 2), e) for name, e in errors.items()},
        course_rmse={name: np.full((3, 2), e) for name, e in errors.items()},
        curve={name: np.full((10, 2), e) for name, e in errors.items()},
        r2=np.full((2, 2), r2),
        coverage={0.95: np.full((2, 2), coverage)},
        width={0.95: np.full((2, 2), 4.0)},
        outside=np.zeros(2),
        true_outside=np.zeros(2),
        deviation=np.array([5.0, 5.0]),
        low=np.zeros(2),
        high=np.full(2, 20.0),
    )


def at(values: np.ndarray, k: int, place: int, value: float) -> np.ndarray:
    """The same numbers but one."""
    changed = values.copy()
    changed[k, place] = value
    return changed


def shuffled(sim: PerSim) -> PerSim:
    """A simulator that takes each agent for the next one."""
    factors = sim.ensemble.agent_factors()
    parts = dataclasses.replace(
        sim._parts, ensemble=sim.ensemble.with_factors(torch.roll(factors, 1, dims=1))
    )
    return PerSim.of(parts)


def recorded(dose: np.ndarray, carbs: np.ndarray | None = None) -> Transitions:
    """Patients' states with other actions: what was done is all that matters here."""
    data = patients(AGENTS, STEPS, noise=1.0)
    actions = [dose.reshape(-1)] if carbs is None else [dose.reshape(-1), carbs.reshape(-1)]
    names = ("dose", "carbs")[: len(actions)]
    return dataclasses.replace(data, action=np.stack(actions, 1), action_names=names)


def drawn(seed: int = 0) -> np.ndarray:
    """Doses from 0 to 1 ``[AGENTS, STEPS]``."""
    return np.random.default_rng(seed).uniform(0, 1, (AGENTS, STEPS))
