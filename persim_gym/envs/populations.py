"""Agents: named hidden covariates, and populations of agents drawn from their ranges."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import as_agent

DEFAULT_SIZE = 500


@dataclass(frozen=True, slots=True)
class Covariate:
    """One physical parameter by which agents differ.

    Attributes:
        name: The name that users write, such as ``"gravity"``.
        default: The value of the original, unmodified environment.
        low: Lower end of the paper's range.
        high: Upper end of the paper's range.
        meaning: What it is, with its unit.
    """

    name: str
    default: float
    low: float
    high: float
    meaning: str


@dataclass(frozen=True, slots=True)
class CovariateTable:
    """The covariates of a task and the paper's test agents: the one place they are written.

    Attributes:
        columns: The covariates, in the order of a population's columns.
        test_agents: Covariates of the paper's test agents, one row each (Section 5.1).
    """

    columns: tuple[Covariate, ...]
    test_agents: tuple[tuple[float, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The covariates' names."""
        return tuple(column.name for column in self.columns)

    @property
    def defaults(self) -> dict[str, float]:
        """The unmodified environment's covariates."""
        return {column.name: column.default for column in self.columns}

    def ranges(self, own: Mapping[str, Sequence[float]] | None = None) -> dict[str, list[float]]:
        """The paper's ranges, with a user's own put in their place.

        Raises:
            ValueError: If a covariate is unknown or a range is not finite, positive and ordered.
        """
        ranges = {column.name: [column.low, column.high] for column in self.columns}
        for name, pair in _mapping("ranges", {} if own is None else own).items():
            if name not in ranges:
                raise ValueError(self._unknown(name))
            says = "two finite positive numbers, lower first"
            ends = list(pair) if isinstance(pair, (list, tuple, np.ndarray)) else []
            what = f"the range of {name!r}"
            if len(ends) != 2:
                raise ValueError(f"{what} must be {says}, got {checks.shown(pair)}")
            low = checks.number(what, ends[0], 0, above=True, says=says)
            ranges[name] = [low, checks.number(what, ends[1], low, says=says)]
        return ranges

    def complete(self, covariates: Mapping[str, float]) -> dict[str, float]:
        """One agent's covariates with defaults filled in, checked against the paper's ranges.

        Raises:
            TypeError: If a value is no number, or ``covariates`` no mapping.
            ValueError: If a covariate is unknown, not finite or out of range.
        """
        values = self.defaults
        for name, value in _mapping("covariates", covariates).items():
            if name not in values:
                raise ValueError(self._unknown(name))
            if isinstance(value, (bool, str, bytes)) or np.ndim(value):
                raise TypeError(f"covariate {name!r} must be a number, got {checks.shown(value)}")
            try:
                values[name] = float(value)
            except (TypeError, ValueError, OverflowError):
                raise TypeError(
                    f"covariate {name!r} must be a number, got {checks.shown(value)}"
                ) from None
        for column in self.columns:
            # An end of the range in single precision lies a rounding beyond it.
            end = min(max(values[column.name], column.low), column.high)
            if math.isclose(values[column.name], end, rel_tol=1e-6):
                values[column.name] = end
            else:
                raise ValueError(
                    f"covariate {column.name!r} is {values[column.name]!r}, out of its range "
                    f"[{column.low}, {column.high}]; for other agents pass a population with "
                    f"ranges of your own: population={{'ranges': {{{column.name!r}: [low, high]}}}}"
                )
        return values

    def _unknown(self, name: object) -> str:
        return (
            f"unknown covariate {name!r}{checks.meant(name, self.names)}: this task has "
            f"{', '.join(self.names)}"
        )


@dataclass(frozen=True, eq=False)
class Population:
    """Agents with their hidden covariates: immutable, of any size, drawn by a seed.

    The default population has the paper's five test agents as agents 0 to 4, followed by uniform
    draws from the paper's ranges. A smaller population is the beginning of a larger one of the
    same seed.

    Attributes:
        names: Covariate names, ``c`` of them.
        values: Covariates ``[N, c]``, float64, read-only.
        recipe: What :meth:`make` needs to build it again, of plain types (JSON).
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    recipe: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Freeze the values, so that no covariate can change under an environment's feet."""
        values = np.array(self.values, dtype=np.float64, ndmin=2)
        if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] != len(self.names):
            raise ValueError(
                f"a population needs covariates of shape [agents, {len(self.names)}] "
                f"({', '.join(self.names)}) and at least one agent, got {np.shape(self.values)}"
            )
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError("covariates of a population must be finite and positive")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @classmethod
    def sample(
        cls,
        table: CovariateTable,
        size: int = DEFAULT_SIZE,
        seed: int = 0,
        ranges: Mapping[str, Sequence[float]] | None = None,
    ) -> Population:
        """Draw a population.

        Args:
            table: The task's covariates.
            size: Number of agents.
            seed: Seed of the draws.
            ranges: Own ranges ``{name: (low, high)}``; with them there are no test agents, all
                agents are draws.

        Raises:
            TypeError: If ``size`` or ``seed`` is no integer.
            ValueError: If ``size`` is below one, ``seed`` negative or a range invalid.
        """
        size = checks.integer("size of a population", size, 1)
        seed = checks.integer("seed of a population", seed)
        needed = 4 * 8 * size * len(table.columns)
        checks.enough_memory(f"size={size} of a population", needed, "make a smaller one")
        bounds = np.array(list(table.ranges(ranges).values()))
        fixed = np.empty((0, len(bounds))) if ranges else np.array(table.test_agents)[:size]
        rng = np.random.default_rng(seed)
        draws = rng.uniform(bounds[:, 0], bounds[:, 1], size=(size - len(fixed), len(bounds)))
        recipe: dict[str, Any] = {"size": size, "seed": seed}
        if ranges:
            recipe["ranges"] = {name: [float(v) for v in pair] for name, pair in ranges.items()}
        return cls(table.names, np.concatenate([fixed, draws]), recipe)

    @classmethod
    def make(cls, table: CovariateTable, source: object = None) -> Population:
        """Build a population from whatever ``population=`` may be.

        Args:
            table: The task's covariates.
            source: ``None`` (the default population), a size, a mapping with any of ``size``,
                ``seed`` and ``ranges`` or with ``covariates`` (``{name: values}``), or a
                :class:`Population`.

        Raises:
            TypeError: If ``source`` is none of these.
            ValueError: If its content is invalid.
        """
        if isinstance(source, Population):
            if source.names != table.names:
                raise ValueError(
                    f"this population's covariates are {', '.join(source.names)}, the task's are "
                    f"{', '.join(table.names)}"
                )
            return source
        if source is None:
            return cls.sample(table)
        if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
            return cls.sample(table, size=int(source))
        if not isinstance(source, Mapping):
            raise TypeError(
                "population must be a size, a mapping with size, seed and ranges, or a "
                f"Population, got {source!r}"
            )
        if "covariates" in source and len(source) == 1:
            given = _mapping("covariates", source["covariates"])
            if unknown := set(given) - set(table.names):
                raise ValueError(table._unknown(sorted(unknown)[0]))
            values = _stacked({**table.defaults, **given})
            return cls(table.names, values, {"covariates": _plain_columns(table.names, values)})
        if unknown := set(source) - {"size", "seed", "ranges"}:
            raise ValueError(
                f"unknown entry {sorted(unknown)[0]!r} in population: it takes size, seed and "
                "ranges, or covariates alone"
            )
        return cls.sample(table, **source)

    @classmethod
    def single(cls, table: CovariateTable, covariates: Mapping[str, float]) -> Population:
        """A population of one agent with the given covariates, defaults filled in."""
        values = table.complete(covariates)
        return cls(table.names, np.array([list(values.values())]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies are made anew: NumPy's own copy of the values would be writeable."""
        return type(self), (self.names, self.values, self.recipe)

    def __len__(self) -> int:
        """Number of agents."""
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        """Equal names and covariates."""
        return (
            isinstance(other, Population)
            and self.names == other.names
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    def covariates(self, agent: int) -> dict[str, float]:
        """The covariates of one agent, as plain floats."""
        row = self.values[as_agent(agent, len(self))]
        return dict(zip(self.names, row.tolist(), strict=True))

    def column(self, name: str) -> NDArray[np.float64]:
        """One covariate of all agents, ``[N]``, read-only."""
        return self.values[:, self.names.index(name)]

    def to_json(self) -> dict[str, Any]:
        """The population as plain types, for an environment's spec and for files."""
        if self.recipe:
            return copy.deepcopy(dict(self.recipe))
        return {"covariates": _plain_columns(self.names, self.values)}


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping from covariates' names, got {value!r}")
    return value


def _stacked(columns: Mapping[str, Any]) -> NDArray[np.float64]:
    """Columns of equal length, or of one value for all agents, as ``[N, c]``."""
    try:
        for values in columns.values():
            if np.asarray(values).dtype.kind not in "iuf":
                raise TypeError
        arrays = [np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in columns.values()]
        if max(array.ndim for array in arrays) > 1:
            raise ValueError
        return np.stack(np.broadcast_arrays(*arrays), axis=-1)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            "covariates of a population must be numbers, one for all agents or as many of each: "
            f"got {checks.shown(dict(columns))}"
        ) from None


def _plain_columns(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, list[float]]:
    return {name: values[:, i].tolist() for i, name in enumerate(names)}
