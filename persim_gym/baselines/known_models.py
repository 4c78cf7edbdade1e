"""What a baseline's model remembers of its data, in its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.blocks import of_part
from persim_gym.core import Task
from persim_gym.learned.experience import Experience
from persim_gym.learned.frames.history import slots
from persim_gym.learned.preparation import Data
from persim_gym.offline.transitions import Transitions

#: Recorded states with a whole past that are kept of each agent.
PASTS_OF_EACH = 8


def remember(data: Transitions, task: Task, lag: int, past: int) -> dict[str, Tensor]:
    """What a model remembers: ranges, start states, and with a lag some states of each agent.

    Args:
        data: The data.
        task: Their task.
        lag: Observations of a state.
        past: Numbers of a past action in it.
    """
    seen = Data(data, task).experience()
    assert seen.seen is not None
    found: dict[str, NDArray[Any]] = {
        "low": seen.low,
        "high": seen.high,
        "change_scale": seen.change_scale,
        "starts": seen.starts,
        "seen": seen.seen.astype(np.uint8),
    }
    if lag > 1:
        rows = _spread_rows(data, lag)
        found["pasts"], found["whose"] = slots(data, lag, past)[rows], data.agent[rows]
    return {f"experience.{name}": torch.as_tensor(np.array(v)) for name, v in found.items()}


def recalled(
    tensors: Mapping[str, Tensor], *, limit: float = math.inf, agent: int | None = None
) -> Experience:
    """The experience that :func:`remember` has kept.

    Args:
        tensors: Tensors of the baseline.
        limit: Largest disagreement that is to be trusted.
        agent: Whose pasts to begin episodes with; by default none's.
    """
    own = {name: t.cpu().numpy() for name, t in of_part(tensors, "experience").items()}
    pasts = own["pasts"][own["whose"] == agent] if agent is not None and "pasts" in own else None
    return Experience(
        low=own["low"],
        high=own["high"],
        change_scale=own["change_scale"],
        starts=own["starts"],
        disagreement_limit=limit,
        seen=own["seen"].astype(np.bool_),
        pasts=None if pasts is None or not len(pasts) else pasts,
    )


def _spread_rows(data: Transitions, lag: int) -> NDArray[np.int64]:
    """Transitions with a whole past, some of each agent, spread over its own."""
    whole = np.flatnonzero(data.step >= lag - 1)
    order = whole[np.argsort(data.agent[whole], kind="stable")]
    _, first, counts = np.unique(data.agent[order], return_index=True, return_counts=True)
    kept = np.minimum(counts, PASTS_OF_EACH)
    place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    within = place * np.repeat(counts, kept) // np.repeat(kept, kept)
    return order[np.repeat(first, kept) + within]


def first_seen(experience: Experience) -> int:
    """The first agent that something was recorded of."""
    return 0 if experience.seen is None else int(experience.seen.argmax())


def recorded_start(
    recorded: NDArray[np.float64], rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    """Draw ``n`` of the recorded start states ``[E, d]``."""
    return recorded[rng.integers(0, len(recorded), size=n)]
