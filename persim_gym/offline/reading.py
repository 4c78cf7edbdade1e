"""Minari data sets read as flat transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from minari import MinariDataset
from numpy.typing import NDArray

from persim_gym.envs.suites import Suite
from persim_gym.offline.datasets import episode_metadata, episodes, open_dataset, suite_of
from persim_gym.offline.transitions import Transitions

AgentOf = Callable[[int], int] | Mapping[int, int]


def read_transitions(
    data: MinariDataset | str | Path, *, agent_of: AgentOf | None = None
) -> Transitions:
    """Read a data set as flat transitions.

    Args:
        data: A Minari data set (a part of one too, as Minari's ``filter_episodes`` and
            ``split_dataset`` give it), the id of a local one, or a folder that holds one.
        agent_of: The agent of each episode, as a function of the episode's id or a mapping from
            it; by default what the episode's reset options name as ``"agent"``.

    Returns:
        Transitions, episode after episode in the data set's order. ``num_agents`` is the size of
        the population of the recorded environment where that is one of this package's, else one
        more than the largest agent.

    Raises:
        FileNotFoundError: If there is no data set in the folder.
        TypeError: If ``data`` is none of these.
        ValueError: If there is no local data set of the id, an episode's agent is not known, or
            the data are damaged or not of the kind that simulators are fitted on.
    """
    dataset = open_dataset(data)
    d, action_shape, action_dtype = _shapes(dataset)
    indices = np.asarray(dataset.episode_indices).tolist()
    if not indices:
        raise ValueError(f"data set {dataset.id!r} has no episodes: record at least one")
    metadata = episode_metadata(dataset)
    agents = _episode_agents(dataset, indices, metadata, agent_of)
    lengths = np.array([int(entry["total_steps"]) for entry in metadata])
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    obs = np.empty((total, d), dtype=np.float32)
    next_obs = np.empty((total, d), dtype=np.float32)
    action = np.empty((total, *action_shape), dtype=action_dtype)
    reward = np.empty(total)
    terminated = np.empty(total, dtype=np.bool_)
    truncated = np.empty(total, dtype=np.bool_)
    rows = zip((ends - lengths).tolist(), ends.tolist(), indices, strict=True)
    for (first, last, index), episode in zip(rows, episodes(dataset), strict=True):
        seen = episode["observations"]
        for name in ("actions", "rewards", "terminations", "truncations"):
            if len(episode[name]) != last - first or len(seen) != last - first + 1:
                raise ValueError(
                    f"episode {index} of data set {dataset.id!r} is damaged: {last - first} steps, "
                    f"{len(seen)} observations, {len(episode[name])} {name}"
                )
        obs[first:last], next_obs[first:last] = seen[:-1], seen[1:]
        action[first:last] = episode["actions"]
        reward[first:last] = episode["rewards"]
        terminated[first:last] = episode["terminations"]
        truncated[first:last] = episode["truncations"]
    suite = suite_of(dataset)
    spec = dataset.env_spec
    return Transitions(
        agent=np.repeat(agents, lengths),
        obs=obs,
        action=action,
        next_obs=next_obs,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        num_agents=_population_size(dataset, suite) or int(agents.max()) + 1,
        task_name=suite.name if suite else (spec.id if spec else ""),
        dataset_id=dataset.id,
        population=dataset.env_spec.kwargs.get("population") if suite else None,
    )


def _population_size(dataset: MinariDataset, suite: Suite | None) -> int | None:
    if suite is None:
        return None
    kwargs = dataset.env_spec.kwargs
    if kwargs.get("covariates") is not None:
        return 1
    return len(suite.population(kwargs.get("population")))


def _shapes(dataset: MinariDataset) -> tuple[int, tuple[int, ...], type[Any]]:
    """Observation coordinates, shape and type of an action."""
    seen, acted = dataset.observation_space, dataset.action_space
    if not isinstance(seen, Box) or len(seen.shape) != 1:
        raise ValueError(
            f"data set {dataset.id!r} has observations {seen}: only flat ones, a Box of one "
            "dimension, can be read as transitions"
        )
    if isinstance(acted, Discrete):
        return seen.shape[0], (), np.int64
    if isinstance(acted, Box) and len(acted.shape) == 1:
        return seen.shape[0], acted.shape, np.float32
    raise ValueError(
        f"data set {dataset.id!r} has actions {acted}: only Discrete or a Box of one dimension can "
        "be read as transitions"
    )


def _episode_agents(
    dataset: MinariDataset,
    indices: list[int],
    metadata: list[dict[str, Any]],
    agent_of: AgentOf | None,
) -> NDArray[np.int64]:
    """The agent of each episode ``[E]``."""
    agents = np.empty(len(indices), dtype=np.int64)
    for row, (index, entry) in enumerate(zip(indices, metadata, strict=True)):
        if agent_of is None:
            agent = (entry.get("options") or {}).get("agent")
            if agent is None:
                raise ValueError(
                    f"episode {index} of data set {dataset.id!r} does not say which agent it is "
                    "of: record with reset(options={'agent': k}), or give agent_of=, a function "
                    "or a mapping from the episode's id to its agent"
                )
        elif callable(agent_of):
            agent = agent_of(index)
        elif index in agent_of:
            agent = agent_of[index]
        else:
            raise ValueError(f"agent_of names no agent for episode {index}")
        agents[row] = _as_index(agent, index)
    return agents


def _as_index(agent: object, episode: int) -> int:
    number = np.asarray(agent)
    if number.ndim != 0 or number.dtype.kind not in "iu" or int(number) < 0:
        raise ValueError(
            f"the agent of episode {episode} must be an integer from 0 on, got {agent!r}"
        )
    return int(number)
