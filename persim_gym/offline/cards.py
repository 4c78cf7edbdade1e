"""Data cards: what a data set holds, for a table, for JSON and for a figure.

Episodes with their returns against the agents' covariates, where the states lie, how episodes begin
and end, and how the same data are made again.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from persim_gym.envs.coordinates import coordinate_names
from persim_gym.envs.suites import Suite
from persim_gym.envs.tasks.cart_pole import MAX_POSITION
from persim_gym.offline import datasets, integrity, provenance
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.recorded import population_of
from persim_gym.offline.summaries import Summary, describe
from persim_gym.offline.transitions import Transitions

#: Pairs of coordinates over which states are counted, by task.
PLANES: dict[str, tuple[tuple[int, int], ...]] = {
    "mountain-car": ((0, 1),),
    "cartpole": ((0, 1), (2, 3)),
    "half-cheetah": ((0, 1), (2, 11), (3, 6)),
}

#: Ends between which states are counted, by task: the same for all data sets of a task, so that
#: their counts can be compared. What lies outside is told as a share.
LIMITS: dict[str, tuple[tuple[float, float], ...]] = {
    "mountain-car": ((-1.2, 0.6), (-0.07, 0.07)),
    "cartpole": ((-2.4, 2.4), (-4.0, 4.0), (-0.21, 0.21), (-4.0, 4.0)),
    "half-cheetah": (
        (-5.0, 10.0), (-0.7, 0.7), (-6.5, 6.5), (-1.0, 1.2), (-1.2, 1.2), (-0.8, 1.0),
        (-1.4, 1.1), (-1.5, 1.3), (-0.8, 0.8), (-5.0, 10.0), (-4.0, 4.0), (-8.0, 8.0),
        *[(-30.0, 30.0)] * 6,
    ),
}  # fmt: skip

#: Cells of a plane along each axis, and bins of one coordinate.
CELLS, BINS = 40, 60
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class Episodes:
    """The episodes, a row each.

    Attributes:
        agents: Agent of each, a name where the data have names; ``None`` where none is named.
        covariates: The agents' covariates ``[E, c]``; ``[E, 0]`` where they are not known.
        returns: Undiscounted sum of rewards ``[E]``.
        lengths: Number of steps ``[E]``.
        ends: Why each ended, ``E`` of them: see :func:`end_reasons`.
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
            known = ", ".join(self.covariates) or "none that are known"
            raise ValueError(f"unknown covariate {name!r}: there are {known}")
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


def data_card(data: MinariDataset | str | Path) -> DataCard:
    """Read a data set and say what it holds.

    Args:
        data: A Minari data set, the id of a local one, or a folder that holds one.

    Raises:
        FileNotFoundError: If there is no data set in the folder.
        TypeError: If ``data`` is none of these.
        ValueError: If there is no local data set of the id, or its data are damaged, not finite or
            not of the kind that simulators are fitted on.
    """
    dataset = datasets.open_dataset(data)
    summary = describe(dataset)
    try:
        transitions, named = read_transitions(dataset, verify=False), True
    except ValueError:
        if summary.agents:
            raise
        # Data that do not say whose they are can be described all the same.
        transitions = read_transitions(dataset, agent_of=lambda episode: 0, verify=False)
        named = False
    suite = datasets.suite_of(dataset) if named and transitions.agent_names is None else None
    metadata = dataset.storage.metadata
    card = dict(datasets.card_of(dataset))
    card.pop(integrity.ABOUT, None)
    written, command = card.pop("sha256", None), card.pop("command", "")
    with datasets.damage_of(dataset):
        sha256 = provenance.content_hash(dataset)
    whole = len(dataset) == card.pop("summary", {}).get("episodes")
    names, tests, values = _covariates(suite, dataset, transitions)
    last = transitions.starts + transitions.lengths - 1
    ends = end_reasons(
        transitions.task_name, transitions.next_obs[last], transitions.terminated[last],
        transitions.truncated[last],
    )  # fmt: skip
    agents: list[int | str | None] = [*transitions.agent[transitions.starts].tolist()]
    if transitions.agent_names is not None:
        agents = [transitions.agent_names[int(agent)] for agent in agents if agent is not None]
    return DataCard(
        summary=summary,
        recipe=card,
        command=command,
        sha256=sha256,
        intact=sha256 == written if written is not None and whole else None,
        data_format=metadata["data_format"],
        author=tuple(sorted(metadata.get("author", ()))),
        requirements=tuple(metadata.get("requirements", ())),
        covariates=names,
        test_agents=tests,
        episodes=Episodes(
            agents=tuple(agents) if named else (None,) * len(agents),
            covariates=values,
            returns=np.add.reduceat(transitions.reward, transitions.starts),
            lengths=transitions.lengths,
            ends=ends,
        ),
        coordinates=_coordinates(transitions),
        planes=_planes(transitions),
    )


def end_reasons(
    task_name: str,
    last: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
) -> tuple[str, ...]:
    """Why episodes ended, in words.

    Args:
        task_name: The task; of one of this package's it is known what its terminal states mean.
        last: The last observations ``[E, d]``.
        terminated: Whether the last steps terminated ``[E]``.
        truncated: Whether they were truncated ``[E]``.
    """

    def reason(obs: NDArray[np.float32], over: bool, cut: bool) -> str:
        if not over:
            return "time limit" if cut else "recording ended"
        if task_name == "cartpole":
            return "off the track" if abs(float(obs[0])) > MAX_POSITION else "pole fell"
        return "goal reached" if task_name == "mountain-car" else "terminated"

    rows = zip(last, terminated.tolist(), truncated.tolist(), strict=True)
    return tuple(reason(*row) for row in rows)


# -- parts -----------------------------------------------------------------------------------------


def _covariates(
    suite: Suite | None, dataset: MinariDataset, transitions: Transitions
) -> tuple[tuple[str, ...], int, NDArray[np.float64]]:
    """Names, number of test agents, and covariates of each episode's agent ``[E, c]``."""
    agents = transitions.agent[transitions.starts]
    unknown: tuple[tuple[str, ...], int, NDArray[np.float64]] = ((), 0, np.empty((len(agents), 0)))
    # Of imported agents no covariates are known: the environment's population is another one.
    if suite is None or "imported" in datasets.card_of(dataset):
        return unknown
    people = suite.population(population_of(dataset, suite))
    if agents.max() >= len(people):
        return unknown  # agents that another environment knows
    fixed = np.array(suite.covariates.test_agents)[: len(people)]
    tests = len(fixed) if np.array_equal(people.values[: len(fixed)], fixed) else 0
    return people.names, tests, people.values[agents]


def _states(transitions: Transitions, coordinate: int) -> NDArray[np.float64]:
    """One coordinate of all states, each state once, in double precision."""
    last = transitions.starts + transitions.lengths - 1
    seen = (transitions.obs[:, coordinate], transitions.next_obs[last, coordinate])
    return np.concatenate(seen).astype(np.float64)


def _limits(
    task_name: str, coordinate: int, d: int, values: NDArray[np.float64]
) -> Sequence[float]:
    known = LIMITS.get(task_name, ())
    if len(known) == d:
        # Observations are single precision: a bound as they know it, lest rounding leave them out.
        return [float(np.float32(end)) for end in known[coordinate]]
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _coordinates(transitions: Transitions) -> tuple[Coordinate, ...]:
    d = transitions.obs.shape[1]
    names = transitions.obs_names or coordinate_names(transitions.task_name, d)
    found = []
    for i, name in enumerate(names):
        values = _states(transitions, i)
        start = transitions.obs[transitions.starts, i].astype(np.float64)
        low, high = _limits(transitions.task_name, i, d, values)
        counts, edges = np.histogram(values, bins=BINS, range=(low, high))
        found.append(
            Coordinate(
                name=name,
                quantiles=tuple(np.quantile(values, QUANTILES).tolist()),
                start=(float(start.min()), float(start.mean()), float(start.max())),
                edges=edges,
                counts=counts,
            )
        )
    return tuple(found)


def _planes(transitions: Transitions) -> tuple[Plane, ...]:
    d = transitions.obs.shape[1]
    known = (
        PLANES.get(transitions.task_name, ())
        if len(LIMITS.get(transitions.task_name, ())) == d
        else ()
    )
    pairs = known or tuple((i, i + 1) for i in range(0, min(d, 6) - 1, 2))
    found = []
    for first, second in pairs:
        x, y = _states(transitions, first), _states(transitions, second)
        ends = [
            _limits(transitions.task_name, axis, d, values)
            for axis, values in ((first, x), (second, y))
        ]
        counts, x_edges, y_edges = np.histogram2d(x, y, bins=CELLS, range=ends)
        found.append(
            Plane(
                axes=(first, second),
                edges=(x_edges, y_edges),
                counts=counts.astype(np.int64),
                visited=float((counts > 0).mean()),
                outside=float(1 - counts.sum() / len(x)),
            )
        )
    return tuple(found)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    # What is left of equal values after subtracting their mean is rounding.
    constant = scale <= 1e-9 * len(x)
    return math.nan if constant else float((x * y).sum() / scale)
