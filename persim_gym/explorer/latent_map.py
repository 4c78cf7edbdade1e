"""The agents on a map: the two leading principal components of their latent factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.latent_factors import principal_components
from persim_gym.learned.dynamics import LearnedDynamics


@dataclass(frozen=True, slots=True)
class LatentMap:
    """Places of all agents.

    Attributes:
        places: ``[N, 2]``, the larger extent from 0 to 1.
        explained: Shares of the factors' variance of the two directions ``[2]``.
    """

    places: NDArray[np.float64]
    explained: NDArray[np.float64]

    def nearest(self, agent: int, count: int) -> list[int]:
        """The agents that are nearest to one, nearest first."""
        apart = np.square(self.places - self.places[agent]).sum(axis=1)
        apart[agent] = np.inf
        return np.argsort(apart, kind="stable")[: min(count, len(apart) - 1)].tolist()


def latent_map(sim: LearnedDynamics) -> tuple[LatentMap | None, str]:
    """The map, or ``None`` and a sentence that says why there is none."""
    try:
        factors = sim.latent_factors
    except TypeError:
        return None, "This kind of model has no latent factors: there is no map of the agents."
    if sim.num_agents < 3 or factors.size == 0 or not np.isfinite(factors).all():
        return None, "A map of the agents needs the latent factors of at least three."
    places, explained = principal_components(factors)
    extent = float(np.ptp(places, axis=0).max())
    if not extent > 0:
        return None, "All agents have the same latent factors: there is no map of them."
    if places.shape[1] < 2:
        places = np.concatenate([places, np.zeros((len(places), 2 - places.shape[1]))], axis=1)
    places = 0.5 + (places - (places.max(axis=0) + places.min(axis=0)) / 2) / extent
    return LatentMap(places, explained), ""
