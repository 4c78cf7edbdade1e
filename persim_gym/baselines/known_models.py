"""What a baseline's model remembers of its data, in its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.context.ensemble import ContextEnsemble
from persim_gym.baselines.context.network import ContextNetwork
from persim_gym.baselines.context.windows import Units, choices_of
from persim_gym.baselines.resumable import of_part
from persim_gym.core import Task
from persim_gym.learned.bounds import BoundEffects, learn_bounds
from persim_gym.learned.data import Data, on_bounds
from persim_gym.learned.ensemble import before_bounds
from persim_gym.learned.history import slots
from persim_gym.learned.support import Experience
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
        rows = _rows_of_all(data, lag)
        found["pasts"], found["whose"] = slots(data, lag, past)[rows], data.agent[rows]
    return {f"experience.{name}": torch.as_tensor(np.array(v)) for name, v in found.items()}


def recalled(tensors: Mapping[str, Tensor], *, agent: int | None = None) -> Experience:
    """The experience that :func:`remember` has kept.

    Args:
        tensors: Tensors of the baseline.
        agent: Whose pasts to begin episodes with; by default none's.
    """
    own = {name: t.cpu().numpy() for name, t in of_part(tensors, "experience").items()}
    pasts = own["pasts"][own["whose"] == agent] if agent is not None and "pasts" in own else None
    return Experience(
        low=own["low"],
        high=own["high"],
        change_scale=own["change_scale"],
        starts=own["starts"],
        disagreement_limit=math.inf,
        seen=own["seen"].astype(np.bool_),
        pasts=None if pasts is None or not len(pasts) else pasts,
    )


def _rows_of_all(data: Transitions, lag: int) -> NDArray[np.int64]:
    """Transitions with a whole past, some of each agent, at even distances."""
    whole = np.flatnonzero(data.step >= lag - 1)
    order = whole[np.argsort(data.agent[whole], kind="stable")]
    _, first, counts = np.unique(data.agent[order], return_index=True, return_counts=True)
    kept = np.minimum(counts, PASTS_OF_EACH)
    place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    within = place * np.repeat(counts, kept) // np.repeat(kept, kept)
    return order[np.repeat(first, kept) + within]


def ensemble_of(
    network: ContextNetwork, units: Units, task: Task, agents: int, particles: int = 0
) -> ContextEnsemble:
    """Members with their units, in a task's space, for so many agents."""
    space, device = task.observation_space, network.device
    own = units.to(device)
    low, high = (own.stay.new_tensor(bound) for bound in (space.low, space.high))
    choices = choices_of(task.action_space)
    return ContextEnsemble(network, own, low, high, agents, choices, particles)


def walls(model: ContextEnsemble, data: Transitions, task: Task) -> dict[str, Tensor]:
    """What going over a bound does to the other coordinates, as PerSim learns it.

    Returns:
        Tensors, by name; nothing where no bound has an effect.
    """
    rows = np.flatnonzero(on_bounds(data, task))
    if not len(rows):
        return {}
    states = torch.as_tensor(slots(data, model.lag, model.past)[rows], device=model.device)
    agents, actions = (
        torch.as_tensor(part[rows], device=model.device) for part in (data.agent, data.action)
    )
    predicted = before_bounds(model, agents, states, actions).mean(0).double().cpu().numpy()
    space, unit = task.observation_space, Data(data, task).change_scale
    effects = learn_bounds(predicted, data.next_obs[rows], space.low, space.high, unit)
    found = {} if effects is None else effects.tensors()
    return {f"effects.{name}": tensor for name, tensor in found.items()}


def with_walls(model: ContextEnsemble, tensors: Mapping[str, Tensor]) -> ContextEnsemble:
    """The members with what :func:`walls` has found."""
    own = of_part(tensors, "effects")
    return model.with_effects(BoundEffects(**own)) if own else model


def first_seen(experience: Experience) -> int:
    """The first agent that something was recorded of."""
    return 0 if experience.seen is None else int(experience.seen.argmax())


def recorded_start(
    recorded: NDArray[np.float64], rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    """Draw ``n`` of the recorded start states ``[E, d]``."""
    return recorded[rng.integers(0, len(recorded), size=n)]
