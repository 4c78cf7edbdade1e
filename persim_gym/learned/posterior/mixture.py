"""What is known of an agent in a mixture of models: what each of its parts knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.agent import AgentPosterior, check_rows
from persim_gym.learned.posterior.covariate_map import CovariateMap
from persim_gym.learned.posterior.prior import Evidence, normal_quantile


class MixedPosterior(AgentPosterior):
    """What is known of an agent in each part of a mixture: transitions go to all of them.

    A factor means something else in each part, so that there is no mean factor of all: ``parts``
    has the posterior of each.

    Args:
        mixture: The mixture.
        task: Spaces of observations and actions.
        parts: The agent's posterior in each part.
    """

    def __init__(
        self, mixture: MixtureEnsemble, task: Task, parts: Sequence[AgentPosterior]
    ) -> None:
        self._mixture, self._task = mixture, task
        self.parts = tuple(parts)
        members = [part.members * n for part, n in zip(mixture.parts, mixture.times, strict=True)]
        #: Share of each part in what is predicted.
        self.weights: NDArray[np.float64] = np.array(members) / sum(members)

    @property
    def count(self) -> int:
        """Transitions that it has seen; those that end on a bound are left out."""
        return self.parts[0].count

    @property
    def deviation(self) -> float:
        """Mean of the parts' by their weights; see :attr:`AgentPosterior.deviation`."""
        return float(self.weights @ [part.deviation for part in self.parts])

    @property
    def evidence(self) -> Evidence:
        """Of each part there is one.

        Raises:
            TypeError: Always.
        """
        self._refuse()

    def _moments(self) -> tuple[Tensor, Tensor]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TypeError(
            "this simulator is a mixture of models, and a factor means something else in each of "
            "them: sim.posterior(agent).parts has the posterior of each"
        )

    def update(self, obs: Array, actions: Array, next_obs: Array) -> AgentPosterior:
        """Add transitions, to each part what it sees of them; see :meth:`AgentPosterior.update`."""
        states, acts, following = check_rows(self._mixture, self._task, obs, actions, next_obs)
        for model, part in zip(self._mixture.parts, self.parts, strict=True):
            part.update(self._mixture.seen_by(model, states), acts, following)
        return self

    def interval(
        self, obs: Array, actions: Array, level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Interval of an agent's next observation; see :meth:`AgentPosterior.interval`.

        Its width holds the parts' own widths, and how far they are apart.
        """
        states, acts, _ = check_rows(self._mixture, self._task, obs, actions, None)
        seen = [self._mixture.seen_by(model, states) for model in self._mixture.parts]
        ends = [p.interval(own, acts, level) for p, own in zip(self.parts, seen, strict=True)]
        centres = np.stack([(low + high) / 2 for low, high in ends])
        halves = np.stack([(high - low) / 2 for low, high in ends])
        centre = np.tensordot(self.weights, centres, 1)
        apart = float(normal_quantile(level)) * (centres - centre)
        half = np.sqrt(np.tensordot(self.weights, halves**2 + apart**2, 1))
        space: Any = self._task.observation_space
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        return np.clip(centre - half, low, high), np.clip(centre + half, low, high)

    def draw(self, seed: int = 0) -> Tensor:
        """A factor of each part's members, filled up with zeros ``[m, r]``."""
        own = [part.draw(seed)[:, None] for part in self.parts]
        return self._mixture.filled(own)[:, 0]


@dataclass(frozen=True, slots=True)
class MixedMap:
    """A map from covariates to factors for each part of a mixture.

    :meth:`PerSim.map_covariates` makes it.

    Attributes:
        parts: The maps.
    """

    parts: tuple[CovariateMap, ...]

    @property
    def r2(self) -> tuple[NDArray[np.float64], ...]:
        """Share of each part's personal numbers' variance that covariates explain ``[m, q]``."""
        return tuple(part.r2 for part in self.parts)
