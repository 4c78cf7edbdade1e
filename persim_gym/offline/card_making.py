"""Reading a data set for its card: states, beginnings, ends and the agents' covariates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from persim_gym.envs.suites import SUITES, Suite, coordinate_names
from persim_gym.offline import datasets, integrity, provenance
from persim_gym.offline.cards import QUANTILES, Coordinate, DataCard, Episodes, Plane
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.recorded import population_of
from persim_gym.offline.summaries import describe
from persim_gym.offline.transitions import Transitions, with_units

#: Cells of a plane along each axis, and bins of one coordinate.
CELLS, BINS = 40, 60


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
    if "synthetic" in card:  # a guard stops episodes before their time, and says so in the infos
        early = transitions.lengths < card["max_episode_steps"]
        rows = zip(ends, early.tolist(), strict=True)
        ends = tuple("guard" if cut and end == "time limit" else end for end, cut in rows)
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
        return SUITES[task_name].end(obs) if task_name in SUITES else "terminated"

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
    population = suite.population(population_of(dataset, suite))
    if agents.max() >= len(population):
        return unknown  # agents that another environment knows
    fixed = np.array(suite.covariates.test_agents)[: len(population)]
    tests = len(fixed) if np.array_equal(population.values[: len(fixed)], fixed) else 0
    return population.names, tests, population.values[agents]


def _states(transitions: Transitions, coordinate: int) -> NDArray[np.float64]:
    """One coordinate of all states, each state once, in double precision."""
    last = transitions.starts + transitions.lengths - 1
    seen = (transitions.obs[:, coordinate], transitions.next_obs[last, coordinate])
    return np.concatenate(seen).astype(np.float64)


def _limits(
    task_name: str, coordinate: int, d: int, values: NDArray[np.float64]
) -> Sequence[float]:
    known = SUITES[task_name].ranges if task_name in SUITES else ()
    if len(known) == d:
        # Observations are single precision: a bound as they know it, lest rounding leave them out.
        return [float(np.float32(end)) for end in known[coordinate]]
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _coordinates(transitions: Transitions) -> tuple[Coordinate, ...]:
    d = transitions.obs.shape[1]
    names = transitions.obs_names or coordinate_names(transitions.task_name, d)
    names = with_units(names, transitions.obs_units) or names
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
    suite = SUITES.get(transitions.task_name)
    pairs: Sequence[tuple[int, int]] = [(i, i + 1) for i in range(0, min(d, 6) - 1, 2)]
    if suite is not None and len(suite.ranges) == d:
        pairs = suite.planes
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
