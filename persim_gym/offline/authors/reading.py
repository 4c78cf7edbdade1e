"""The data files of the paper's authors: pickled lists of trajectories, read without running them.

Original: an item of such a list is one trajectory, a dictionary with ``observations``,
``next_observations``, ``actions``, ``rewards``, ``dones`` and ``unit_info``, whose ``id`` is the
agent. A ``done`` is set at time limits too.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.files import read_regular
from persim_gym.offline import datasets, integrity, provenance
from persim_gym.offline.authors.limits import SECONDS, Budget, refusing
from persim_gym.offline.authors.plain_pickle import MAX_BYTES, loads_plain
from persim_gym.offline.transitions import Transitions

#: Ids of agents from here on are taken for damage, not for a population of that size.
MOST_AGENTS = 100_000
#: A transition takes more bytes of a file than these. Where it does not, a file repeats what it
#: holds without end.
BYTES_A_TRANSITION = 4

#: Bytes that an episode takes in memory beside its numbers, and episodes written together.
_EPISODE, _TOGETHER = 1024, 256

_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones")
#: ``{env}_{pure|random|mix}_{0.0|0.2|0.4}_0``, the names that the authors give their files.
_FILE = re.compile(r"[A-Za-z]+_(pure|random|mix)_([01]\.\d+)_\d+")


def from_authors_file(
    file: str | Path,
    task: str,
    *,
    max_bytes: int | None = None,
    max_seconds: float = SECONDS,
) -> Transitions:
    """Read one of the authors' files as flat transitions.

    Nothing that the file asks for is run or imported; a file that holds anything else than plain
    data and NumPy arrays of numbers is refused.

    Args:
        file: The file, such as ``"cartPole_random_0.0_0.pkl"``.
        task: The task whose data it holds, such as ``"cartpole"``.
        max_bytes: Most bytes that the file may become, in memory and on disk each; by default a
            hundred times its size, but 32 MB at least and 4 GB at most.
        max_seconds: Most seconds that it may take.

    Returns:
        Transitions, trajectory after trajectory; a trajectory that goes on after a ``done`` is
        several episodes. Agents are the file's ids. A transition is ``terminated`` where the file
        sets ``dones`` and the task says that its next observation ends the episode; where only
        ``dones`` is set, and at the end of a trajectory, it is ``truncated``.

    Raises:
        OSError: If the file cannot be read.
        TypeError: If a limit is no number.
        ValueError: If the task is unknown, or the file is damaged, unsafe, too large, or not of
            the task.
    """
    suite = find_suite(task)
    path = checks.as_path("file", file)
    data = read_regular(path, MAX_BYTES)
    budget = Budget(max_bytes, max_seconds, len(data))
    found = list(_episodes(path, data, suite.task(), budget))
    lengths = [len(episode.reward) for episode in found]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(episode, name) for episode in found])

    agents = np.array([episode.agent for episode in found])
    return Transitions(
        agent=np.repeat(agents, lengths),
        obs=np.concatenate([episode.seen[:-1] for episode in found]),
        action=joined("action"),
        next_obs=np.concatenate([episode.seen[1:] for episode in found]),
        reward=joined("reward"),
        terminated=joined("terminated"),
        truncated=joined("truncated"),
        episode=np.repeat(np.arange(len(found)), lengths),
        num_agents=int(agents.max()) + 1,
        task_name=suite.name,
        dataset_id=Path(file).name,
    )


def import_authors_file(
    file: str | Path,
    task: str,
    *,
    dataset_id: str | None = None,
    overwrite: bool = False,
    data_format: str = "hdf5",
    max_bytes: int | None = None,
    max_seconds: float = SECONDS,
) -> MinariDataset:
    """Write one of the authors' files as a Minari data set.

    The agent of an episode is in its reset options. Episodes have no seed, so they cannot be
    replayed. Agents 0 to 4 are the paper's test agents, as in this package's default population;
    the covariates of the others are not in the file, and those that the recovered environment has
    for them are not theirs.

    Args:
        file: The file, such as ``"cartPole_random_0.0_0.pkl"``.
        task: The task whose data it holds, such as ``"cartpole"``.
        dataset_id: By default ``"persim/imported/<task>-<behaviour>-v0"``, where the behaviour is
            what the file's name says.
        overwrite: Replace a data set of this id.
        data_format: Minari's ``"hdf5"``, ``"arrow"`` or ``"parquet"``.
        max_bytes: Most bytes that the file may become, in memory and on disk each; by default a
            hundred times its size, but 32 MB at least and 4 GB at most.
        max_seconds: Most seconds that it may take.

    Returns:
        The data set, in the order of the file.

    Raises:
        ImportError: If a library for the format is not installed.
        OSError: If the file cannot be read, or there is no room.
        TypeError: If an argument has the wrong type.
        ValueError: If the task is unknown, the file is damaged, unsafe, too large or not of the
            task, an argument is invalid, or the data set exists.
    """
    suite, path = find_suite(task), checks.as_path("file", file)
    made = suite.task()
    behaviour = behaviour_of(path)
    usual = f"{datasets.NAMESPACE}/imported/{suite.name}-{behaviour}-v0"
    chosen = usual if dataset_id is None else datasets.check_id(dataset_id)
    datasets.check_format(data_format)
    data = read_regular(path, MAX_BYTES)
    budget = Budget(max_bytes, max_seconds, len(data))
    with datasets.publishing(chosen, overwrite) as folder:
        found = list(_episodes(path, data, made, budget))
        horizon = max(made.max_episode_steps, *(len(episode.reward) for episode in found))
        population = suite.population(max(episode.agent for episode in found) + 1)
        spec = provenance.env_spec(suite, population, horizon)
        storage = datasets.new_storage(folder, made, spec, data_format)
        digest = _write(storage, found, path, budget.again())
        agents = len({episode.agent for episode in found})
        returns = [float(episode.reward.sum()) for episode in found]
        description = _description(suite, path, agents, behaviour)
        author = "the authors of PerSim"
        storage.update_metadata(provenance.common_metadata(chosen, author, behaviour, description))
        integrity.seal(
            storage,
            {
                "task": suite.name,
                "behaviour": behaviour,
                "command": _command(suite, path, None if chosen == usual else chosen),
                "version": provenance.version("persim-gym"),
                "sha256": digest.hexdigest(),
                "imported": {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()},
                "summary": provenance.summary(agents, returns),
            },
        )
    return datasets.load(chosen)


def _write(
    storage: MinariStorage, found: Sequence[_Episode], path: Path, budget: Budget
) -> provenance.ContentHash:
    """Write all episodes, a part at a time; the hash of their content."""
    digest = provenance.ContentHash()
    for first in range(0, len(found), _TOGETHER):
        buffers = [_buffer(episode) for episode in found[first : first + _TOGETHER]]
        with refusing(path):
            budget.spend(sum(map(datasets.size_on_disk, buffers)))
            budget.check_time()
        datasets.append(storage, buffers)
        for buffer in buffers:
            arrays = (getattr(buffer, name) for name in provenance.ARRAYS)
            digest.update(buffer.seed, buffer.options, arrays)
    return digest


def behaviour_of(file: Path) -> str:
    """The behaviour that a file's name says, by this package's names; ``"unknown"`` if none."""
    named = _FILE.fullmatch(file.stem)
    if named is None:
        return "unknown"
    kind, epsilon = named[1], round(100 * float(named[2]))
    return f"pure-eps-{epsilon}" if kind == "mix" else kind


def _command(suite: Suite, path: Path, own_id: str | None) -> str:
    words = ["persim-gym", "datasets", "import", path.name, "--task", suite.name]
    return shlex.join(words if own_id is None else [*words, "--dataset-id", own_id])


def _description(suite: Suite, path: Path, agents: int, behaviour: str) -> str:
    return (
        f"{suite.env_id}: {agents} agents, behaviour {behaviour!r}, from the file {path.name!r} of "
        "the paper's authors. The agent of an episode is in its reset options. Agents 0 to 4 are "
        "the paper's test agents; the covariates of the others are not known."
    )


# -- trajectories ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Episode:
    """One episode of ``n`` steps: observations ``[n + 1, d]`` and the rest ``[n]``."""

    agent: int
    seen: NDArray[np.float32]
    action: NDArray[Any]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


def _buffer(episode: _Episode) -> EpisodeBuffer:
    return EpisodeBuffer(
        options={"agent": episode.agent},
        infos={"agent": np.full((len(episode.seen), 1), episode.agent)},
        observations=episode.seen,
        actions=episode.action,
        rewards=episode.reward,
        terminations=episode.terminated,
        truncations=episode.truncated,
    )


def _episodes(path: Path, data: bytes, task: Task, budget: Budget) -> Iterator[_Episode]:
    """The episodes of a file, in its order, checked."""
    with refusing(path):
        items = loads_plain(data, budget)
    budget = budget.again()
    width = task.observation_space.shape[0] + math.prod(task.action_space.shape or ())
    if not isinstance(items, list) or not items:
        raise ValueError(
            f"{path} holds {_kind(items)}, where the authors' files hold a list of trajectories"
        )
    left = len(data) // BYTES_A_TRANSITION
    for number, item in enumerate(items):
        where = f"trajectory {number} of {path}"
        if not isinstance(item, dict):
            raise ValueError(f"{where} is {_kind(item)}, where a dictionary is needed")
        if missing := [name for name in (*_ARRAYS, "unit_info") if name not in item]:
            raise ValueError(
                f"{where} has no {', '.join(missing)}: it is none of the authors' files"
            )
        agent = _agent(item["unit_info"], where)
        columns = {name: item[name] for name in _ARRAYS}
        for name, values in columns.items():
            if not isinstance(values, list) and not (
                isinstance(values, np.ndarray) and values.ndim
            ):
                raise ValueError(f"{name} of {where} are {_kind(values)}, where a list is needed")
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or not lengths["rewards"]:
            found = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise ValueError(f"{where} is damaged: {found}")
        left -= lengths["rewards"]
        if left < 0:  # a list can be named again and again, each time in two bytes
            raise ValueError(f"{where} is damaged: the file has more transitions than bytes")
        with refusing(path):  # before it is made: observations twice, numbers of eight bytes
            budget.spend(8 * (2 * width + 4) * lengths["rewards"])
            budget.check_time()
        for episode in _split(agent, columns, task, where):
            with refusing(path):
                budget.spend(_EPISODE)
            yield episode


def _split(agent: int, columns: Mapping[str, Any], task: Task, where: str) -> Iterator[_Episode]:
    """A trajectory as episodes, of which each but the last ends with a ``done``."""
    width = task.observation_space.shape[0]
    obs = _numbers(columns["observations"], (width,), "observations", where, task)
    after = _numbers(columns["next_observations"], (width,), "next_observations", where, task)
    action = _actions(columns["actions"], task, where)
    reward = _numbers(columns["rewards"], (), "rewards", where, task)
    done = _numbers(columns["dones"], (), "dones", where, task) != 0
    jumps = (after[:-1] != obs[1:]).any(axis=1) & ~done[:-1]
    if jumps.any():
        step = int(np.argmax(jumps))
        raise ValueError(
            f"{where} is not one trajectory: what followed on step {step} is not what was seen "
            f"on step {step + 1}, and dones is not set between them"
        )
    # Original: time limits set `dones` too. What ends an episode is a question to the task.
    terminated = done & np.asarray(task.terminated(after))
    truncated = done & ~terminated
    truncated[-1] = not terminated[-1]
    first = 0
    for last in np.flatnonzero(terminated | truncated).tolist():
        rows = slice(first, last + 1)
        yield _Episode(
            agent=agent,
            seen=np.concatenate([obs[rows], after[last][None]]).astype(np.float32),
            action=action[rows],
            reward=reward[rows],
            terminated=terminated[rows],
            truncated=truncated[rows],
        )
        first = last + 1


def _agent(info: object, where: str) -> int:
    agent = info.get("id") if isinstance(info, dict) else None
    number = np.asarray(agent) if isinstance(agent, (int, np.generic, np.ndarray)) else None
    if number is None or number.size != 1 or number.dtype.kind not in "iu":
        raise ValueError(f"unit_info of {where} has no id that is an integer")
    if not 0 <= int(number.flat[0]) < MOST_AGENTS:
        raise ValueError(
            f"the id in unit_info of {where} must be 0 to {MOST_AGENTS - 1}, got "
            f"{int(number.flat[0])}"
        )
    return int(number.flat[0])


def _numbers(
    values: Any, shape: tuple[int, ...], name: str, where: str, task: Task
) -> NDArray[np.float64]:
    """A column ``[n, *shape]`` from an array, or a list of arrays and numbers; all finite."""
    length, size = len(values), int(np.prod(shape, dtype=int))
    if isinstance(values, list):
        # Checked one by one: a nested list would be copied to its bottom.
        for step, value in enumerate(values):
            plain = isinstance(value, (bool, int, float, np.generic))
            if not plain and not isinstance(value, np.ndarray):
                raise ValueError(f"{name} of {where} has {_kind(value)} on step {step}")
            if np.size(value) != size:
                raise ValueError(_width(name, where, np.size(value), size, task))
        rows = np.array([np.ravel(value) for value in values], dtype=np.float64)
    else:
        if values.size != length * size:
            raise ValueError(_width(name, where, values.size // length, size, task))
        rows = values.astype(np.float64)
    rows = rows.reshape(length, *shape)
    # As float32, which observations and actions become.
    finite = (abs(rows) <= np.finfo(np.float32).max).reshape(length, -1).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name} of {where} are not finite on step {int(np.argmin(finite))}")
    return rows


def _actions(values: Any, task: Task, where: str) -> NDArray[Any]:
    space = task.action_space
    if not isinstance(space, Discrete):
        return _numbers(values, space.shape, "actions", where, task).astype(np.float32)
    numbers = _numbers(values, (), "actions", where, task)
    valid = (numbers == np.round(numbers)) & (numbers >= 0) & (numbers < space.n)
    if not valid.all():
        step = int(np.argmin(valid))
        raise ValueError(
            f"actions of {where} must be 0 to {space.n - 1}, got {numbers[step]:g} on step {step}"
        )
    return numbers.astype(np.int64)


def _width(name: str, where: str, found: int, needed: int, task: Task) -> str:
    return f"{name} of {where} are of {found} numbers, {task.name!r} has {needed}"


def _kind(value: object) -> str:
    """What something is; never its content, which may be without end."""
    return "nothing" if value is None else f"a {type(value).__name__}"
