"""Rows on which what was written is compared with the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from persim_gym.learned.dynamics import LearnedDynamics

#: Rows that are compared, and how far results may differ, in units of the largest value.
ROWS, TOLERANCE = 64, 1e-4


def example_rows(sim: LearnedDynamics, n: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    """Agents ``[n]``, states ``[n, l * w]`` about the recorded range, actions ``[n(, a)]``."""
    rng = np.random.default_rng(0)
    known, ensemble = sim.experience, sim.ensemble
    width = 0.2 * (known.high - known.low)
    slots = rng.uniform(known.low - width, known.high + width, (n, ensemble.lag, len(width)))
    low, high = (bound.double().cpu().numpy() for bound in ensemble.limits)
    slots = np.clip(slots, low, high)
    space = sim.task.action_space
    space.seed(0)
    actions = np.stack([space.sample() for _ in range(n * ensemble.lag)])
    if ensemble.past:
        from persim_gym.learned.history import coded

        choices = ensemble.past + 1 if actions.dtype.kind == "i" else 0
        past = coded(torch.as_tensor(actions), choices).reshape(n, ensemble.lag, -1)
        slots = np.concatenate([past[..., : ensemble.past].numpy(), slots], axis=2)
    states = torch.as_tensor(slots.reshape(n, -1), dtype=torch.float32)
    agents = torch.as_tensor(rng.integers(0, sim.num_agents, n))
    return agents, states, torch.as_tensor(actions[:n])


def check_alike(what: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Refuse a file that says something else than the simulator.

    Raises:
        ValueError: If results differ by more than rounding.
    """
    sound = np.isfinite(expected)
    size = max(1.0, float(np.abs(expected[sound]).max(initial=0.0)))
    same = found.shape == expected.shape and np.array_equal(sound, np.isfinite(found))
    away = float(np.abs(found - expected)[sound].max(initial=0.0)) if same else np.inf
    if away > TOLERANCE * size:
        raise ValueError(
            f"{what} would not give what the simulator gives: it differs by {away:.2g} on values "
            f"of up to {size:.2g}; nothing was written"
        )
