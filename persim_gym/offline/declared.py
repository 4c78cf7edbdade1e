"""What a user declares of coordinates: physical bounds, units, and names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from minari import MinariDataset

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.offline.arrays import called
from persim_gym.offline.transitions import Transitions

#: The key of a Minari data set's metadata that holds what was declared.
DECLARED = "persim_declared"
#: What it holds beside bounds: fields of :class:`Transitions`.
_NAMES = ("obs_names", "action_names", "action_labels", "obs_units", "action_units")


def declare(
    data: Transitions,
    bounds: Mapping[Any, Any] | None = None,
    units: Mapping[Any, Any] | None = None,
) -> Transitions:
    """The same transitions with bounds and units of their coordinates.

    Args:
        data: The transitions, of no task of this package: these have spaces of their own.
        bounds: Least and largest possible values by coordinate: ``{"ferritin": (0, None)}``, where
            ``None`` is no bound. ``(None, None)`` says that a coordinate of which all data have
            one sign may have the other.
        units: Units by coordinate of the state or of the action: ``{"ferritin": "ug/L"}``.

    Coordinates go by name, or by index where they have none.

    Raises:
        TypeError: If an argument is no mapping, or a unit no text.
        ValueError: If there is no such coordinate, a bound is no number or no range, data are
            beyond it, or the data are of a task of this package.
    """
    if not isinstance(data, Transitions):
        raise TypeError(f"data must be Transitions, got {checks.shown(data)}")
    bounds, units = _mapping("bounds", bounds), _mapping("units", units)
    if not bounds and not units:
        return data
    if data.task_name in SUITES and bounds:
        raise ValueError(
            f"bounds= are for data of your own: the space of task {data.task_name!r} is known"
        )
    d, width = data.obs.shape[1], int(np.prod(data.action.shape[1:]))
    state = data.obs_names or tuple(map(str, range(d)))
    action = data.action_names or ("action",) * (width == 1)
    found = {column: (low, high) for column, low, high in data.bounds}
    for key, given in bounds.items():
        column = _column("bounds", key, state)
        found[column] = _range(state[column], given)
    ends = tuple((column, *pair) for column, pair in sorted(found.items()))
    _check_inside(data, ends, state)
    known = [list(data.obs_units or [""] * d), list(data.action_units or [""] * width)]
    for key, unit in units.items():
        place = _column("units", key, (*state, *action))
        known[place >= d][place - d * (place >= d)] = checks.text(f"the unit of {key!r}", unit)
    of = (tuple(own) if any(own) else None for own in known)
    return replace(data, bounds=ends, obs_units=next(of), action_units=next(of))


def keep_declared(dataset: MinariDataset, data: Transitions) -> None:
    """Write what is declared of transitions, and names, into the metadata of their Minari data set.

    :func:`~persim_gym.offline.read_transitions` declares the same again.
    """
    bounds = [
        [column, *(end if math.isfinite(end) else None for end in ends)]
        for column, *ends in data.bounds
    ]
    dataset.storage.update_metadata(declared_metadata(data, bounds))


def declared_metadata(source: Any, bounds: Sequence[Any] = ()) -> dict[str, Any]:
    """What is declared, as metadata of a data set.

    Args:
        source: Transitions, or a task: names and units are its attributes, where it has any.
        bounds: Coordinate, least and largest value; ``None`` for no bound.
    """
    return {DECLARED: {"bounds": list(bounds)} | {n: getattr(source, n, None) for n in _NAMES}}


def declared_in(dataset: MinariDataset) -> dict[str, Any]:
    """What :func:`keep_declared` has written, as fields of :class:`Transitions`.

    Raises:
        ValueError: If it is damaged.
    """
    plain = dataset.storage.metadata.get(DECLARED, {})
    try:
        bounds = tuple(
            (int(column), *_range(str(column), ends)) for column, *ends in plain.get("bounds", ())
        )
        names = {key: tuple(map(str, plain[key])) for key in _NAMES if plain.get(key)}
        return {"bounds": bounds} | names
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the metadata of data set {dataset.id!r} hold bounds, units or names that can not be "
            f"read: {error}"
        ) from None


def _mapping(name: str, given: object) -> Mapping[Any, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping from names, got {checks.shown(given)}")
    return given or {}


def _column(what: str, key: object, names: Sequence[str]) -> int:
    if isinstance(key, tuple) and called(key) in names:  # of a table's columns of several levels
        return names.index(called(key))
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and str(key) in names:
        return names.index(str(key))
    raise ValueError(f"{what} names {key!r}, which is no coordinate: there are {', '.join(names)}")


def _range(name: str, given: Any) -> tuple[float, float]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise ValueError(
            f"bounds of {name!r} must be (least, largest), None for none, got {checks.shown(given)}"
        )
    ends = [
        side * math.inf if end is None else checks.number(f"a bound of {name!r}", end)
        for side, end in zip((-1.0, 1.0), given, strict=True)
    ]
    if not ends[0] < ends[1]:
        raise ValueError(f"bounds of {name!r} must ascend, got {ends[0]:g} to {ends[1]:g}")
    return ends[0], ends[1]


def _check_inside(
    data: Transitions, bounds: Sequence[tuple[int, float, float]], names: Sequence[str]
) -> None:
    """Refuse data beyond declared bounds, with the first agent that goes there."""
    turning = {column for column, _ in data.angles} | {c for pair in data.circles for c in pair}
    for column, low, high in bounds:
        if column in turning:
            raise ValueError(f"{names[column]!r} is declared as an angle: it has no bounds")
        with np.errstate(over="ignore"):  # what single precision cannot hold is infinite
            ends = np.float32(low), np.float32(high)
        for values in (data.obs[:, column], data.next_obs[:, column]):
            beyond = (values < ends[0]) | (values > ends[1])
            if beyond.any():
                row = int(np.argmax(beyond))
                agent = data.agent_names[data.agent[row]] if data.agent_names else data.agent[row]
                raise ValueError(
                    f"{names[column]!r} of agent {agent} is {values[row]:g}, outside its declared "
                    f"bounds {low:g} to {high:g}: correct the data, or declare wider bounds"
                )
