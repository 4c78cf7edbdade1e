"""Minari data sets, this package's and any other's, read as flat transitions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space
from minari import MinariDataset
from numpy.typing import NDArray

from persim_gym.envs.suites import Suite
from persim_gym.offline.arrays import natural
from persim_gym.offline.datasets import damage_of, episode_metadata, open_dataset, suite_of
from persim_gym.offline.declared import declared_in
from persim_gym.offline.integrity import checked_steps
from persim_gym.offline.recorded import population_of, task_name_of
from persim_gym.offline.storages import Steps, stored_infos
from persim_gym.offline.transitions import Transitions

#: Whose an episode is: a function of the episode's id or a mapping from it, or the key of the
#: reset options or infos that says so. Agents are integers from 0 on, or names.
AgentOf = Callable[[int], int | str] | Mapping[int, int] | Mapping[int, str] | str

#: Integers name agents by their index as long as no more than so many below the largest are
#: no agent's.
MOST_ABSENT = 1000

_LOG = logging.getLogger(__name__)


def read_transitions(
    data: MinariDataset | str | Path,
    *,
    agent_of: AgentOf = "agent",
    nameless: bool = False,
    verify: bool = True,
) -> Transitions:
    """Read a data set as flat transitions.

    Any Minari data set can be read whose observations are a flat ``Box`` or a ``Dict`` (nested or
    not) of boxes and whose actions are ``Discrete`` or a flat ``Box``. The entries of a ``Dict``
    stand beside each other in the space's own order, as ``gymnasium.spaces.flatten`` has them, and
    ``obs_names`` tells them apart. Observations and actions become float32. Discrete actions that
    begin elsewhere than at 0 are counted from 0, and ``action_labels`` holds the recorded numbers.

    Data of this package's environments are of their task, unless they were recorded through
    wrappers that may change what is seen, done or gained: then ``task_name`` says so, and is no
    task's, so that spaces, reward and end are learned from the data.

    Args:
        data: A Minari data set (a part of one too, as Minari's ``filter_episodes`` and
            ``split_dataset`` give it), the id of a local one, or a folder that holds one.
        agent_of: The agent of each episode, an integer or a string. Either a function of the
            episode's id or a mapping from it, or the key under which the agent stands in an
            episode's reset options or else in its infos, where it must not change within an
            episode. Strings become the indices of their natural order (``"p2"`` before ``"p10"``),
            and ``agent_names`` holds them; so do integers that leave out more than
            :data:`MOST_ABSENT` below the largest.
        nameless: Whether episodes of which none names its agent are one agent's, or refused.
        verify: Compare the data with the hash that was kept when they were recorded, once for the
            same files in a process; data without one pass.

    Returns:
        Transitions, episode after episode in the data set's order. ``num_agents`` is the number of
        names where agents have names; else the size of the population of the recorded environment
        where that is one of this package's; else one more than the largest agent.

    Raises:
        FileNotFoundError: If there is no data set in the folder.
        TypeError: If ``data`` is none of these.
        ValueError: If there is no local data set of the id, an episode's agent is not known, or
            the data are damaged, altered or not of the kind that simulators are fitted on.
    """
    dataset = open_dataset(data)
    layout = _layout(dataset)
    indices = np.asarray(dataset.episode_indices).tolist()
    if not indices:
        raise ValueError(f"data set {dataset.id!r} has no episodes: record at least one")
    metadata = episode_metadata(dataset)
    agents, names = _episode_agents(dataset, indices, metadata, agent_of, nameless)
    with damage_of(dataset):
        lengths = np.array([int(entry["total_steps"]) for entry in metadata])
        steps = checked_steps(dataset, metadata, verify)
        columns = _columns(dataset, indices, lengths, layout, steps)
    suite = suite_of(dataset)
    name = task_name_of(dataset)
    if suite and name != suite.name:
        _LOG.info(
            "%s: spaces, reward and end are learned from the data, for it is %s", dataset.id, name
        )
    num_agents = _population_size(dataset, suite) or int(agents.max()) + 1
    if names is not None:
        num_agents = len(names)
    named: dict[str, Any] = {"obs_names": layout.obs_names, "action_labels": layout.action_labels}
    return Transitions(
        agent=np.repeat(agents, lengths),
        episode=np.repeat(np.arange(len(lengths)), lengths),
        **columns,
        num_agents=num_agents,
        task_name=name,
        dataset_id=dataset.id,
        population=population_of(dataset, suite) if suite else None,
        agent_names=names,
        **named | declared_in(dataset),
    )


# -- what is in an episode -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a row is made of.

    Attributes:
        width: Observation coordinates.
        obs_names: Their names, where the space has any.
        action_shape: Shape of an action.
        action_dtype: Its type.
        obs_dtype: Type that holds an observation exactly.
        first_action: Number of the first discrete action.
        action_labels: Numbers of discrete actions, where the first is not 0.
    """

    width: int
    obs_names: tuple[str, ...] | None
    action_shape: tuple[int, ...]
    action_dtype: type[Any]
    obs_dtype: type[Any]
    first_action: int = 0
    action_labels: tuple[str, ...] | None = None


def _columns(
    dataset: MinariDataset,
    indices: list[int],
    lengths: NDArray[np.int64],
    layout: _Layout,
    stored: Iterator[Steps],
) -> dict[str, Any]:
    """Everything of the episodes, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    obs = np.empty((total, layout.width), dtype=layout.obs_dtype)
    next_obs = np.empty_like(obs)
    action = np.empty((total, *layout.action_shape), dtype=layout.action_dtype)
    reward = np.empty(total)
    terminated = np.empty(total, dtype=np.bool_)
    truncated = np.empty(total, dtype=np.bool_)
    rows = zip((ends - lengths).tolist(), ends.tolist(), indices, strict=True)
    # A number too large for float32 becomes infinite, and is then refused with its place.
    with np.errstate(over="ignore"):
        for (first, last, index), steps in zip(rows, stored, strict=True):
            seen = _checked(dataset, index, last - first, steps, layout)
            obs[first:last], next_obs[first:last] = seen[:-1], seen[1:]
            acted = steps.actions.reshape(last - first, *layout.action_shape)
            action[first:last] = acted - layout.first_action if layout.first_action else acted
            reward[first:last] = steps.rewards.reshape(-1)
            terminated[first:last] = steps.terminations.reshape(-1)
            truncated[first:last] = steps.truncations.reshape(-1)
    return {
        "obs": obs,
        "next_obs": next_obs,
        "action": action,
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
    }


def _checked(
    dataset: MinariDataset, index: int, length: int, steps: Steps, layout: _Layout
) -> NDArray[Any]:
    """The observations ``[n + 1, d]`` of an episode whose columns fit together."""
    parts = list(_boxes(steps.observations, dataset.observation_space))
    counts = {"observations": min(len(part) for part in parts)}
    counts |= {name: len(getattr(steps, name)) for name in Steps._fields[1:]}
    whole = {name: length + (name == "observations") for name in counts}
    if counts != whole or max(len(part) for part in parts) != length + 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(
            f"episode {index} of data set {dataset.id!r} is damaged: {length} steps, {found}"
        )
    flat = [part.reshape(length + 1, -1) for part in parts]
    seen = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
    acted = steps.actions.size // length if length else 0
    if seen.shape[1] != layout.width or (length and acted != np.prod(layout.action_shape)):
        raise ValueError(
            f"episode {index} of data set {dataset.id!r} is damaged: observations of "
            f"{seen.shape[1]} numbers and actions of {acted}, where the spaces are "
            f"{dataset.observation_space} and {dataset.action_space}"
        )
    if layout.action_dtype is np.int64 and steps.actions.dtype.kind not in "iub":
        raise ValueError(
            f"episode {index} of data set {dataset.id!r} has actions of type "
            f"{steps.actions.dtype}, where the space is {dataset.action_space}"
        )
    return seen


def _layout(dataset: MinariDataset) -> _Layout:
    seen, acted = dataset.observation_space, dataset.action_space
    flat = isinstance(seen, Box) and len(seen.shape) == 1
    if not flat and not (isinstance(seen, Dict) and _is_boxes(seen)):
        raise ValueError(
            f"data set {dataset.id!r} has observations {seen}: only flat ones, a Box of one "
            "dimension or a Dict of boxes, can be read as transitions"
        )
    shape: tuple[int, ...]
    dtype: type[Any]
    first, labels = 0, None
    if isinstance(acted, Discrete):
        shape, dtype, first = (), np.int64, int(acted.start)
        if first:
            labels = tuple(str(first + k) for k in range(int(acted.n)))
    elif isinstance(acted, Box) and len(acted.shape) == 1:
        shape, dtype = acted.shape, np.float32
    else:
        raise ValueError(
            f"data set {dataset.id!r} has actions {acted}: only Discrete or a Box of one dimension "
            "can be read as transitions"
        )
    names = tuple(_coordinates(seen))
    # Larger types are narrowed by Transitions, which takes differences before.
    exact = np.float32 if np.result_type(np.float32, *_dtypes(seen)) == np.float32 else np.float64
    return _Layout(len(names), None if flat else names, shape, dtype, exact, first, labels)


def _dtypes(space: Space[Any]) -> list[Any]:
    if isinstance(space, Dict):
        return [kind for part in space.spaces.values() for kind in _dtypes(part)]
    return [space.dtype]


def _is_boxes(space: Space[Any]) -> bool:
    if isinstance(space, Dict):
        return bool(space.spaces) and all(_is_boxes(part) for part in space.spaces.values())
    return isinstance(space, Box)


def _coordinates(space: Space[Any], name: str = "") -> Iterator[str]:
    """A name for each coordinate, in the order of :func:`_boxes`."""
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            yield from _coordinates(part, f"{name}.{key}" if name else str(key))
    elif space.shape == () or space.shape == (1,):
        yield name
    else:
        for place in np.ndindex(space.shape or ()):
            yield f"{name}[{','.join(map(str, place))}]"


def _boxes(values: Any, space: Space[Any]) -> Iterator[NDArray[Any]]:
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            yield from _boxes(values[key], part)
    else:
        yield np.asarray(values)


# -- whose an episode is ---------------------------------------------------------------------------


def _population_size(dataset: MinariDataset, suite: Suite | None) -> int | None:
    if suite is None:
        return None
    return len(suite.population(population_of(dataset, suite)))


def _episode_agents(
    dataset: MinariDataset,
    indices: list[int],
    metadata: list[dict[str, Any]],
    agent_of: AgentOf,
    nameless: bool,
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """The agent of each episode ``[E]``, and the agents' names where they have any."""
    suite = suite_of(dataset)
    if isinstance(agent_of, str) and suite and dataset.env_spec.kwargs.get("covariates"):
        return np.zeros(len(indices), dtype=np.int64), None  # there is no other agent
    if isinstance(agent_of, str):
        found = _named_by_the_data(dataset, indices, metadata, agent_of, nameless)
    elif callable(agent_of):
        found = [agent_of(index) for index in indices]
    elif isinstance(agent_of, Mapping):
        for index in indices:
            if index not in agent_of:
                raise ValueError(f"agent_of names no agent for episode {index}")
        found = [agent_of[index] for index in indices]
    else:
        raise TypeError(
            "agent_of must be a function of an episode's id, a mapping from it, or a key of its "
            f"reset options or infos, got {agent_of!r}"
        )
    agents = [_as_agent(value, index) for value, index in zip(found, indices, strict=True)]
    # An environment of this package knows its agents by their numbers.
    return number_agents(agents, most_absent=sys.maxsize if suite else MOST_ABSENT)


def number_agents(
    agents: Sequence[int | str], most_absent: int = MOST_ABSENT
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Indices for agents, and the names of these indices.

    Integers are indices already and have no names; strings are numbered in their natural order, in
    which ``"p2"`` comes before ``"p10"``. Where more than ``most_absent`` integers below the
    largest are no agent's, memory and time would go into agents that there are not: then integers
    are names, too.

    Raises:
        ValueError: If some are integers and some are strings.
    """
    numbers = [agent for agent in agents if isinstance(agent, int)]
    if len(numbers) == len(agents):
        own, places = np.unique(np.array(numbers, dtype=object), return_inverse=True)
        if own[-1] + 1 - len(own) <= most_absent:
            return np.array(numbers, dtype=np.int64), None
        return places.astype(np.int64), tuple(map(str, own))
    if numbers:
        name = next(agent for agent in agents if isinstance(agent, str))
        raise ValueError(
            f"agents must be all integers or all strings, got {numbers[0]!r} and {name!r}"
        )
    names = tuple(sorted({str(agent) for agent in agents}, key=natural))
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[str(agent)] for agent in agents], dtype=np.int64), names


def _named_by_the_data(
    dataset: MinariDataset, indices: list[int], metadata: list[dict[str, Any]], key: str, lone: bool
) -> list[object]:
    found: list[object] = []
    for entry in metadata:
        options = entry.get("options")
        found.append(options.get(key) if isinstance(options, Mapping) else None)
    silent = [row for row, agent in enumerate(found) if agent is None]
    if not silent:
        return found
    with damage_of(dataset):
        infos = stored_infos(dataset, key, [indices[row] for row in silent])
    if lone and len(silent) == len(found) and all(values is None for values in infos):
        return [0] * len(found)
    for row, values in zip(silent, infos, strict=True):
        index = indices[row]
        if values is None:
            raise ValueError(
                f"episode {index} of data set {dataset.id!r} does not say which agent it is of, "
                f"neither in its reset options nor in its infos under {key!r}: record with "
                f"reset(options={{{key!r}: k}}), or give agent_of=, the key under which it stands, "
                "a function or a mapping from the episode's id to its agent (Minari's "
                "combine_datasets keeps infos alone: record them, too)"
            )
        over_time = np.asarray(values)
        if over_time.ndim == 2 and over_time.shape[1] == 1:
            over_time = over_time[:, 0]
        if over_time.size == 0 or over_time.ndim > 1 or (over_time != over_time.flat[0]).any():
            raise ValueError(
                f"infos[{key!r}] of episode {index} of data set {dataset.id!r} must be one agent "
                f"from its first to its last step, got {over_time.tolist()}"
            )
        found[row] = over_time.flat[0]
    return found


def _as_agent(agent: object, episode: int) -> int | str:
    if isinstance(agent, bytes):  # how HDF5 gives back strings
        agent = agent.decode("utf-8", errors="replace")
    value = np.asarray(agent)
    if value.ndim == 0 and value.dtype.kind == "U" and str(agent):
        return str(agent)
    whole = value.dtype.kind in "iu" or (isinstance(agent, int) and not isinstance(agent, bool))
    if value.ndim != 0 or not whole or int(value) < 0:
        raise ValueError(
            f"the agent of episode {episode} must be an integer from 0 on, got {agent!r}; or a "
            "name, a string that is not empty"
        )
    return int(value)
