"""Data cards: what a data set holds, for a table, for JSON and for a figure.

Episodes with their returns against the agents' covariates, where the states lie, how episodes begin
and end, and how the same data are made again.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.offline.summaries import Summary

#: Shares of the states below a coordinate's quantiles.
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class Episodes:
    """The episodes, a row each.

    Attributes:
        agents: Agent of each, a name where the data have names; ``None`` where none is named.
        covariates: The agents' covariates ``[E, c]``; ``[E, 0]`` where they are not known.
        returns: Undiscounted sum of rewards ``[E]``.
        lengths: Number of steps ``[E]``.
        ends: Why each ended, ``E`` of them.
    """

    agents: tuple[int | str | None, ...]
    covariates: NDArray[np.float64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    ends: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Coordinate:
    """Where one coordinate of the observations lies.

    Attributes:
        name: Its name, with a unit where it has one.
        quantiles: Its quantiles at :data:`QUANTILES`, over all states.
        start: Lowest, mean and highest value at the beginning of episodes.
        edges: Ends of the bins ``[b + 1]``.
        counts: States in each bin ``[b]``.
    """

    name: str
    quantiles: tuple[float, ...]
    start: tuple[float, float, float]
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Plane:
    """How the states lie in two coordinates.

    Attributes:
        axes: Indices of the coordinates.
        edges: Ends of the cells along both, each ``[b + 1]``.
        counts: States in each cell ``[b, b]``, the first coordinate first.
        visited: Share of cells with a state.
        outside: Share of states in no cell.
    """

    axes: tuple[int, int]
    edges: tuple[NDArray[np.float64], NDArray[np.float64]]
    counts: NDArray[np.int64]
    visited: float
    outside: float


@dataclass(frozen=True, eq=False)
class DataCard:
    """What a data set holds.

    Attributes:
        summary: The data set in one line.
        recipe: What decided what was recorded; empty for another library's data.
        command: What makes the same data again, or an empty string.
        sha256: Hash of the content, as it is now.
        intact: Whether that is the hash that was written when the data were recorded; ``None``
            where none was, or the data set is a part of another.
        data_format: Minari's name of the format.
        author: Who recorded it.
        requirements: Libraries and versions for a replay.
        covariates: Names of the covariates; empty where they are not known.
        test_agents: How many of the first agents are the paper's test agents.
        episodes: The episodes.
        coordinates: The observation's coordinates.
        planes: The states in pairs of coordinates.
    """

    summary: Summary
    recipe: Mapping[str, Any]
    command: str
    sha256: str
    intact: bool | None
    data_format: str
    author: tuple[str, ...]
    requirements: tuple[str, ...]
    covariates: tuple[str, ...]
    test_agents: int
    episodes: Episodes
    coordinates: tuple[Coordinate, ...]
    planes: tuple[Plane, ...]

    def end_counts(self) -> dict[str, int]:
        """How many episodes ended for which reason, the most frequent first."""
        return dict(Counter(self.episodes.ends).most_common())

    def by_covariate(self, name: str, groups: int = 5) -> list[Group]:
        """Episodes in groups of equal size by the agents' value of a covariate, lowest first.

        Raises:
            ValueError: If there is no such covariate.
        """
        if name not in self.covariates:
            known = self.covariates or ("none that are known",)
            raise ValueError(checks.unknown("covariate", name, known))
        values = self.episodes.covariates[:, self.covariates.index(name)]
        order = np.argsort(values, kind="stable")
        returns, lengths = self.episodes.returns, self.episodes.lengths
        return [
            Group(
                low=float(values[rows[0]]),
                high=float(values[rows[-1]]),
                episodes=len(rows),
                mean_return=float(returns[rows].mean()),
                min_return=float(returns[rows].min()),
                max_return=float(returns[rows].max()),
                mean_length=float(lengths[rows].mean()),
            )
            for rows in np.array_split(order, min(groups, len(order)))
        ]

    def correlations(self) -> dict[str, float]:
        """Correlation of return and covariate over the episodes; NaN where either is constant."""
        known = zip(self.covariates, self.episodes.covariates.T, strict=True)
        return {name: _correlation(values, self.episodes.returns) for name, values in known}

    def to_json(self) -> dict[str, Any]:
        """The card as plain types, without the counts of bins and cells."""
        episodes = self.episodes
        rows = zip(
            episodes.agents, episodes.covariates.tolist(), episodes.returns.tolist(),
            episodes.lengths.tolist(), episodes.ends, strict=True,
        )  # fmt: skip
        return {
            **dataclasses.asdict(self.summary),
            "recipe": dict(self.recipe),
            "command": self.command,
            "sha256": self.sha256,
            "intact": self.intact,
            "format": self.data_format,
            "author": list(self.author),
            "requirements": list(self.requirements),
            "ends": self.end_counts(),
            "return_against": {
                name: {
                    "correlation": None if math.isnan(correlation) else correlation,
                    "groups": [dataclasses.asdict(group) for group in self.by_covariate(name)],
                }
                for name, correlation in self.correlations().items()
            },
            "coordinates": [
                {
                    "name": c.name,
                    "quantiles": dict(zip(map(str, QUANTILES), c.quantiles, strict=True)),
                    "start": dict(zip(("low", "mean", "high"), c.start, strict=True)),
                }
                for c in self.coordinates
            ],
            "coverage": [
                {
                    "coordinates": [self.coordinates[i].name for i in plane.axes],
                    "visited": plane.visited,
                    "outside": plane.outside,
                }
                for plane in self.planes
            ],
            "by_episode": [
                {
                    "agent": agent,
                    **dict(zip(self.covariates, values, strict=True)),
                    "return": total,
                    "steps": length,
                    "end": end,
                }
                for agent, values, total, length, end in rows
            ],
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Episodes of agents that are alike in one covariate.

    Attributes:
        low: Lowest value of the covariate.
        high: Highest value.
        episodes: Number of episodes.
        mean_return: Mean of their returns.
        min_return: Lowest return.
        max_return: Highest return.
        mean_length: Mean number of steps.
    """

    low: float
    high: float
    episodes: int
    mean_return: float
    min_return: float
    max_return: float
    mean_length: float


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    # What is left of equal values after subtracting their mean is rounding.
    constant = scale <= 1e-9 * len(x)
    return math.nan if constant else float((x * y).sum() / scale)
