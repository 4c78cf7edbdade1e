"""Whether something recorded determines an action: its effect then cannot be separated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.validation.splits import place_in_record
from persim_gym.learned.fitting.plain_models import products_by_agent
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Held-out R2 from which an action counts as determined, and as mostly determined.
DETERMINED, PARTLY = 0.95, 0.7
#: Part of the deviation in all records from which an agent's own deviation counts as variation.
FIXED = 0.01
#: Numbers in memory together, and rows that are used of very long records.
MOST, ROWS = 4_000_000, 20_000
#: Nearest states whose actions are averaged, and states that these are sought for and among.
NEIGHBOURS, ASKED, AMONG = 5, 300, 2_000
#: Ridge penalty in transitions.
RIDGE = 1e-3
#: Held-out rows from which it is said at all what determines an action.
ENOUGH = 10
#: Rows of an agent from which its own regression is judged, for each unknown.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Acted:
    """Actions as numbers.

    Attributes:
        values: ``[T, w]``; of discrete actions a column for each choice, 1 where it was taken.
        names: Of the columns ``[w]``.
        discrete: Whether actions are discrete.
    """

    values: Floats
    names: tuple[str, ...]
    discrete: bool

    @classmethod
    def of(cls, data: Transitions) -> Acted:
        """The actions of data."""
        if data.action.ndim == 1:
            labels = data.action_labels
            count = int(data.action.max()) + 1 if labels is None else len(labels)
            word = data.action_names[0] if data.action_names else "action"
            names = tuple(f"{word} {labels[k] if labels else k}" for k in range(count))
            return cls(np.eye(count)[data.action], names, True)
        width = data.action.shape[1]
        named = data.action_names or tuple(f"action {k}" for k in range(width))
        return cls(data.action.astype(np.float64), named, False)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def varied_by(self, agent: NDArray[np.int64], agents: int) -> NDArray[np.bool_]:
        """Whether each agent varied each action ``[N, w]``."""
        count = np.maximum(np.bincount(agent, minlength=agents), 1)[:, None]
        centred = self.values - self.values.mean(0)
        first, second = (_sums(part, agent, agents) for part in (centred, centred**2))
        deviation = np.sqrt(np.maximum(second / count - (first / count) ** 2, 0.0))
        least = 1e-6 if self.discrete else FIXED * self.values.std(0) + 1e-12
        return np.asarray(deviation > least)


@dataclass(frozen=True, slots=True)
class Explained:
    """What explains an action in all records together.

    Attributes:
        r2: By the state and the other actions; ``nan`` where there are too few rows to say.
        of_state: By the state alone.
        by: What explains it, in words.
        driver: The column that explains most by itself; ``None`` where there is none.
        driver_values: Its values ``[T]``.
    """

    r2: float
    of_state: float
    by: str
    driver: str | None
    driver_values: Floats = field(repr=False)


def explained(data: Transitions, acted: Acted, k: int, names: Sequence[str]) -> Explained:
    """How far the state, and the other actions, explain one action in all records.

    Args:
        data: The data.
        acted: Their actions.
        k: Which action.
        names: Of the state's coordinates ``[d]``.
    """
    obs = data.obs.astype(np.float64)
    rest = np.delete(acted.values, k, axis=1)
    other = () if acted.discrete else tuple(np.delete(np.array(acted.names, dtype=object), k))
    everything = obs if acted.discrete else np.concatenate([obs, rest], axis=1)
    columns = (*names, *other)
    rows = _thinned(len(data), max(1, min(ROWS, MOST // (everything.shape[1] + 1) ** 2)))
    late = late_rows(data.agent)[rows]
    agent, y = data.agent[rows], acted.values[rows, k]
    if late.sum() < ENOUGH or y.std() <= 1e-12:
        return Explained(np.nan, np.nan, "nothing", None, np.zeros(len(data)))
    single = [
        _best(everything[rows, c : c + 1], y, agent, late) for c in range(everything.shape[1])
    ]
    best = int(np.argmax(single))
    of_state = max(_best(obs[rows], y, agent, late), *single[: len(names)])
    r2 = max(of_state, *single, _best(everything[rows], y, agent, late))
    if single[best] >= r2 - 0.05:
        by = columns[best]
    elif of_state >= r2 - 0.05:
        by = "the state"
    else:
        by = "the state and the other actions"
    return Explained(r2, of_state, by, columns[best], everything[:, best])


def explained_by_agent(data: Transitions, acted: Acted) -> Floats:
    """Held-out R2 of each agent's own linear regression of each action ``[N, w]``.

    On the state and the other actions; ``nan`` where the record is too short to say.
    """
    obs = data.obs.astype(np.float64)
    found = np.full((data.num_agents, acted.width), np.nan)
    for k in range(acted.width):
        parts = [obs] if acted.discrete else [obs, np.delete(acted.values, k, axis=1)]
        found[:, k] = _own(_scaled(np.concatenate(parts, 1)), acted.values[:, k], data)
    return found


def late_rows(agent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The last third of every agent's record ``[T]``."""
    count = np.bincount(agent)[agent]
    return np.asarray(place_in_record(agent) >= count - count // 3)


def _own(inputs: Floats, y: Floats, data: Transitions) -> Floats:
    """R2 ``[N]`` of each agent's linear regression in the last third of its record."""
    x = np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)
    late, agents, p = late_rows(data.agent), data.num_agents, inputs.shape[1] + 1
    early = (x[~late], data.agent[~late], agents)
    gram = products_by_agent(early[0], *early)
    cross = products_by_agent(early[0], y[~late, None], *early[1:])
    weights = np.linalg.solve(gram + RIDGE * np.eye(p), cross)[..., 0]
    off = y - (x * weights[data.agent]).sum(1)
    counts = np.bincount(data.agent[~late], minlength=agents)
    mean = np.bincount(data.agent[~late], y[~late], agents) / np.maximum(counts, 1)
    away = y - mean[data.agent]
    left, all_ = (np.bincount(data.agent[late], part[late] ** 2, agents) for part in (off, away))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(all_ > 1e-20, 1 - left / all_, np.nan)
    found[counts < FEWEST * p] = np.nan
    return np.asarray(found)


def _best(inputs: Floats, y: Floats, agent: NDArray[np.int64], late: NDArray[np.bool_]) -> float:
    return max(_polynomial(inputs, y, agent, late), _neighbours(inputs, y, late))


def _polynomial(
    inputs: Floats, y: Floats, agent: NDArray[np.int64], late: NDArray[np.bool_]
) -> float:
    """R2 of a quadratic regression of all agents, with and without a level of each."""
    x = _scaled(inputs)
    first, second = np.triu_indices(x.shape[1])
    terms = np.concatenate([x, x[:, first] * x[:, second]], axis=1)
    found = []
    for group in (np.zeros_like(agent), agent):
        both = np.concatenate([terms, y[:, None]], axis=1)
        both = both - _means(both, group, late)
        design, target = both[:, :-1], both[:, -1]
        gram = design[~late].T @ design[~late] + RIDGE * np.eye(design.shape[1])
        weights = np.linalg.solve(gram, design[~late].T @ target[~late])
        found.append(_r2(target[late], design[late] @ weights))
    return max(found)


def _neighbours(inputs: Floats, y: Floats, late: NDArray[np.bool_]) -> float:
    """R2 of the mean action in the nearest recorded states: what no polynomial follows."""
    x = _scaled(inputs)
    early, asked = np.flatnonzero(~late), np.flatnonzero(late)
    early, asked = early[_thinned(len(early), AMONG)], asked[_thinned(len(asked), ASKED)]
    if len(early) < 10 * NEIGHBOURS:
        return -np.inf
    apart = (x[early] ** 2).sum(1) - 2 * x[asked] @ x[early].T
    near = np.argpartition(apart, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return _r2(y[asked] - y[early].mean(), y[early][near].mean(1) - y[early].mean())


def _r2(true: Floats, predicted: Floats) -> float:
    total = float((true**2).sum())
    return 1 - float(((true - predicted) ** 2).sum()) / total if total > 1e-20 else -np.inf


def _means(values: Floats, group: NDArray[np.int64], late: NDArray[np.bool_]) -> Floats:
    """Each group's mean of what is not held out, row by row."""
    agents = int(group.max()) + 1
    count = np.maximum(np.bincount(group[~late], minlength=agents), 1)[:, None]
    return (_sums(values[~late], group[~late], agents) / count)[group]


def _sums(values: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    return np.stack([np.bincount(group, column, groups) for column in values.T], axis=1)


def _scaled(values: Floats) -> Floats:
    scale = values.std(0)
    return (values - values.mean(0)) / np.where(scale > 1e-12, scale, 1.0)


def _thinned(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of ``count`` rows, at even distances."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
