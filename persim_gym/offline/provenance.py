"""Where recorded data come from: metadata, the command that makes them again, their hash.

The same command gives the same bytes: what is written here depends on nothing but the arguments and
the versions of the libraries. There is no date and no name of a machine in it.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.metadata
import itertools
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

import persim_gym
from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import SUITES, Suite

#: Arrays of an episode, in the order in which they are hashed.
ARRAYS = ("observations", "actions", "rewards", "terminations", "truncations")


def env_spec(suite: Suite, population: Population, horizon: int) -> Any:
    """The spec by which Minari recovers the recorded environment."""
    spec = copy.deepcopy(gym.spec(suite.env_id))
    spec.max_episode_steps = horizon
    if population != suite.population():
        spec.kwargs["population"] = population.to_json()
    return spec


def minari_metadata(
    dataset_id: str, suite: Suite, recipe: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Minari's own fields, apart from what its storage keeps.

    Args:
        dataset_id: The data set's id.
        suite: The task and its covariates.
        recipe: What :func:`make_recipe` gives.
        command: How the data are made again.
    """
    # Another version of a physics library is other physics: a replay is exact under the same one.
    requirements = [f"{name}>={version(name)}" for name in ("persim-gym", "gymnasium", "minari")]
    requirements += [f"{name}=={version(name)}" for name in suite.libraries]
    agents, episodes = count_indices(recipe["agents"]), recipe["episodes"]
    # Minari shows a description as Markdown.
    description = (
        f"{suite.env_id}: {agents} agents that differ in {' and '.join(suite.covariates.names)}, "
        f"{episodes} "
        f"{'episode' if episodes == 1 else 'episodes'} each, behaviour {recipe['behaviour']!r}. "
        f"The agent of an episode is in its reset options. Recorded with persim_gym "
        f"{persim_gym.__version__} by `{command}`."
    )
    common = common_metadata(dataset_id, "persim_gym", recipe["behaviour"], description)
    return {**common, "requirements": requirements}


def common_metadata(
    dataset_id: str, author: str, behaviour: str, description: str
) -> dict[str, Any]:
    """Minari's own fields that recordings and imported files both have."""
    return {
        "dataset_id": dataset_id,
        "minari_version": version("minari"),
        "author": {author},
        "algorithm_name": behaviour,
        "description": description,
    }


def summary(agents: int, returns: Sequence[float]) -> dict[str, Any]:
    """What stands in a card of the agents and of the episodes' returns."""
    mean = float(np.mean(returns))
    return {"agents": agents, "episodes": len(returns), "mean_return": mean}


def make_recipe(
    suite: Suite,
    behaviour: str,
    agents: NDArray[np.int64],
    episodes: int,
    seed: int,
    population: Population,
    horizon: int,
    deterministic: bool,
) -> dict[str, Any]:
    """All that decides what is recorded, as plain types: two equal recipes give equal data."""
    return {
        "task": suite.name,
        "behaviour": behaviour,
        "agents": list_indices(agents.tolist()),
        "episodes": episodes,
        "seed": seed,
        "population": population.to_json(),
        "max_episode_steps": horizon,
        "deterministic": deterministic,
    }


def differences(recipe: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """In what a data set that is there differs from a recipe, in words; empty if in nothing.

    What a card does not tell is taken to be equal, apart from the task and the behaviour.
    """
    different = []
    for name, wanted in recipe.items():
        there = card.get(name, None if name in ("task", "behaviour") else wanted)
        if _plain(there) != _plain(wanted):
            different.append(f"{name} {_short(there)} instead of {_short(wanted)}")
    return different


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- the command -----------------------------------------------------------------------------------


def command_line(
    recipe: Mapping[str, Any],
    *,
    behaviour: str | None = None,
    epsilon: float | None = None,
    dataset_id: str | None = None,
    data_format: str = "hdf5",
) -> str | None:
    """The command line that records the data of a recipe, or ``None`` if there is none.

    Args:
        recipe: What :func:`make_recipe` gives.
        behaviour: As it stands on the command line, a policy's folder for example; by default the
            recipe's.
        epsilon: What was given as ``--epsilon``.
        dataset_id: The id, if it is not the one that the command gives by itself.
        data_format: Minari's name of the format.
    """
    population, agents = recipe["population"], list_to_option(recipe["agents"])
    # A list of covariates cannot be written as options, nor can drawing from a policy.
    if "covariates" in population or not recipe["deterministic"]:
        return None
    words = ["persim-gym", "record", recipe["task"], "--behaviour"]
    words += [behaviour or recipe["behaviour"]]
    if epsilon is not None:
        words += ["--epsilon", f"{epsilon:g}"]
    which = "--agents" if agents.isdecimal() else "--agent"
    words += [which, agents, "--seed", str(recipe["seed"])]
    if recipe["episodes"] != 1:
        words += ["--episodes", str(recipe["episodes"])]
    if recipe["max_episode_steps"] != task_limit(recipe["task"]):
        words += ["--max-steps", str(recipe["max_episode_steps"])]
    # Without a size of its own a population has 500 agents, or as many as are recorded.
    grown = max(DEFAULT_SIZE, int(agents) if agents.isdecimal() else 0)
    if population["size"] != grown:
        words += ["--population-size", str(population["size"])]
    if population["seed"] != 0:
        words += ["--population-seed", str(population["seed"])]
    for name, (low, high) in population.get("ranges", {}).items():
        words += ["--ranges", f"{name}={low!r}:{high!r}"]
    if dataset_id is not None:
        words += ["--dataset-id", dataset_id]
    if data_format != "hdf5":
        words += ["--format", data_format]
    return shlex.join(words)


def python_call(
    suite: Suite, recipe: Mapping[str, Any], dataset_id: str | None, data_format: str
) -> str:
    """The call of :func:`~persim_gym.offline.record` for what has no command line.

    The policy stands there under its name: how it was made, no call can tell.
    """
    agents = list_to_option(recipe["agents"])
    arguments = [
        repr(suite.env_id),
        f"policy={recipe['behaviour']}",
        f"agents={agents if agents.isdecimal() else parse_indices(recipe['agents'])}",
        f"episodes={recipe['episodes']}",
        f"seed={recipe['seed']}",
    ]
    population = recipe["population"]
    if "covariates" in population:
        arguments.append("population=dataset.env_spec.kwargs['population']")
    elif population != {"size": DEFAULT_SIZE, "seed": 0}:
        arguments.append(f"population={population!r}")
    if recipe["max_episode_steps"] != task_limit(recipe["task"]):
        arguments.append(f"max_episode_steps={recipe['max_episode_steps']}")
    if not recipe["deterministic"]:
        arguments.append("deterministic=False")
    if dataset_id is not None:
        arguments.append(f"dataset_id={dataset_id!r}")
    if data_format != "hdf5":
        arguments.append(f"data_format={data_format!r}")
    return f"persim_gym.offline.record({', '.join(arguments)})"


def task_limit(name: str) -> int:
    """The time limit of a task of this package."""
    return SUITES[name].task().max_episode_steps


def list_indices(indices: Sequence[int]) -> str:
    """Indices as text, runs as ``first-last``: ``[0, 1, 2, 7]`` is ``"0-2,7"``."""
    parts = []
    # Inside a run an index grows as fast as its place.
    for _, run in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0]):
        members = [index for _, index in run]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return ",".join(parts)


def parse_indices(text: str) -> list[int]:
    """The indices that :func:`list_indices` wrote."""
    indices: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        indices += range(int(first), int(last or first) + 1)
    return indices


def count_indices(text: str) -> int:
    """How many indices :func:`list_indices` wrote."""
    return len(parse_indices(text))


def list_to_option(text: str) -> str:
    """Agents for ``--agents``, their number, if they are the first ones; else for ``--agent``."""
    indices = parse_indices(text)
    if indices == list(range(len(indices))):
        return str(len(indices))
    # A lone number would be a count.
    return f"{text}-{text}" if text.isdecimal() else text


# -- the hash --------------------------------------------------------------------------------------


class ContentHash:
    """SHA-256 of what episodes hold: seeds, reset options and every array, with type and shape.

    It is the same in every format, and does not depend on ids, dates or versions.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, seed: object, options: object, arrays: Iterable[NDArray[Any]]) -> None:
        """Add an episode with its arrays in the order of :data:`ARRAYS`."""
        about = json.dumps([seed, options], sort_keys=True, default=_as_plain)
        self._digest.update(about.encode())
        for array in arrays:
            self._digest.update(f"{array.dtype.str} {array.shape};".encode())
            self._digest.update(np.ascontiguousarray(array).data)

    def hexdigest(self) -> str:
        """The hash of the episodes so far."""
        return self._digest.hexdigest()


def content_hash(dataset: MinariDataset) -> str:
    """The hash of a data set's content, as :class:`ContentHash` makes it while recording."""
    digest = ContentHash()
    about = dataset.storage.get_episode_metadata(dataset.episode_indices)
    episodes = dataset.storage.get_episodes(dataset.episode_indices)
    for entry, episode in zip(about, episodes, strict=True):
        arrays = (np.asarray(episode[name]) for name in ARRAYS)
        digest.update(entry.get("seed"), entry.get("options"), arrays)
    return digest.hexdigest()


def _as_plain(value: Any) -> Any:
    return np.asarray(value).tolist()


@functools.cache
def version(name: str) -> str:
    """The installed version of a library."""
    if name == "persim-gym":
        return persim_gym.__version__
    return importlib.metadata.version(name)
