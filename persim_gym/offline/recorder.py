"""The recorder: trajectories of a population under a behaviour policy, as a Minari data set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Policy, as_agents
from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.offline import datasets, integrity, provenance
from persim_gym.offline.episodes import record_batch
from persim_gym.policies.behaviours import as_policy, behaviour_name
from persim_gym.progress import OnProgress, Report, reporter
from persim_gym.rollout import EpisodeBatch, start_episodes

#: Episodes side by side, and transitions in memory at once (which bounds the former for long ones).
LANES = 1024
TRANSITIONS = 2**20

_LOG = logging.getLogger(__name__)


def record(
    env_id: str,
    policy: Any = "random",
    agents: int | Sequence[int] | NDArray[np.integer[Any]] = DEFAULT_SIZE,
    episodes: int = 1,
    seed: int = 0,
    *,
    population: object = None,
    max_episode_steps: int | None = None,
    deterministic: bool = True,
    dataset_id: str | None = None,
    overwrite: bool = False,
    data_format: str = "hdf5",
    command: str | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> MinariDataset:
    """Record trajectories of agents and keep them as a Minari data set.

    Each episode has a seed of its own and the agent in its reset options: reset with both and fed
    the recorded actions, ``dataset.recover_environment()`` gives the recorded observations,
    rewards and flags bit for bit. An episode under this package's behaviours depends on nothing
    but the seed, its agent and its index among the agent's episodes: a recording of 25 agents is
    the beginning of one of 500. The same call gives the same bytes.

    An episode in which HalfCheetah's physics breaks is cut off there, as in the environment; how
    many these are stands in the data set's card.

    The data set appears when it is complete; a recording that fails or is killed leaves nothing,
    and leaves an older data set of the same id as it was. It is stored where Minari stores data
    sets (``MINARI_DATASETS_PATH``).

    Args:
        env_id: An environment id of this package, or a task's name, such as ``"cartpole"``.
        policy: The name of a behaviour, such as ``"random"``, a function of observations
            ``[n, d]``, or anything with ``predict``.
        agents: How many of the population's agents, from the first on, or their indices.
        episodes: Episodes of each agent.
        seed: Seed of start states and of the behaviour.
        population: As for the environment. Without a size of its own it grows with ``agents``.
        max_episode_steps: Time limit; by default the task's.
        deterministic: What ``predict`` is asked for. A policy that is random on its own makes
            recordings that cannot be repeated.
        dataset_id: By default ``"persim/<task>/<behaviour>-v0"``.
        overwrite: Replace a data set of this id.
        data_format: Minari's ``"hdf5"``, ``"arrow"`` or ``"parquet"``.
        command: What to write down as the way to make the data again; by default the command line
            that is the same as this call, or the call itself where there is none.
        on_progress: Called with how many steps are done, and of how many; an episode that ends
            early counts as done to its time limit.
        progress: Show a progress bar; by default where there is a terminal.

    Returns:
        The data set; episodes are in the order of ``agents``, an agent's one after the other.

    Raises:
        ImportError: If a library for the format is not installed.
        TypeError: If an argument has the wrong type, or the policy's actions have.
        ValueError: If an argument is invalid, the policy's spaces are not the task's, the data set
            exists, the policy gives an action that is not finite or does not exist, or a state is
            not finite.
    """
    recording = prepare(
        env_id, policy, agents, episodes, seed, population=population,
        max_episode_steps=max_episode_steps, deterministic=deterministic, dataset_id=dataset_id,
        data_format=data_format, command=command,
    )  # fmt: skip
    return recording.run(overwrite, on_progress, progress)


def prepare(
    env_id: str,
    policy: Any = "random",
    agents: int | Sequence[int] | NDArray[np.integer[Any]] = DEFAULT_SIZE,
    episodes: int = 1,
    seed: int = 0,
    *,
    population: object = None,
    max_episode_steps: int | None = None,
    deterministic: bool = True,
    dataset_id: str | None = None,
    data_format: str = "hdf5",
    command: str | None = None,
) -> Recording:
    """Check all that a recording needs, before any work; arguments and errors as of :func:`record`.

    Whether there is a data set of the id already is not checked.
    """
    if not isinstance(env_id, str):
        raise TypeError(f"an environment id or a task's name is needed, got {env_id!r}")
    suite = find_suite(env_id)
    task = suite.task()
    named = policy if isinstance(policy, str) else None
    policy = as_policy(policy, task)
    episodes = checks.integer("episodes", episodes, 1)
    seed = checks.integer("seed", seed)
    deterministic = checks.switch("deterministic", deterministic)
    horizon = task.max_episode_steps
    if max_episode_steps is not None:
        horizon = checks.integer("max_episode_steps", max_episode_steps, 1)
    chosen, everyone = _choose_agents(suite, agents, population)
    everything = EpisodeBatch.of_each(
        task, chosen, episodes, horizon=horizon, seed=seed, deterministic=deterministic,
        population=everyone,
    )  # fmt: skip
    datasets.check_format(data_format)
    behaviour = named or behaviour_name(policy)
    recipe = provenance.make_recipe(
        suite, behaviour, chosen, episodes, seed, everyone, horizon, deterministic
    )
    usual = f"{datasets.NAMESPACE}/{suite.name}/{behaviour}-v0"
    if named is not None:  # reads what the behaviour needs from disk
        start_episodes(policy, everything.rows(slice(1)))
    own_id = None if dataset_id in (None, usual) else dataset_id
    if command is None and named is not None:
        command = provenance.command_line(recipe, dataset_id=own_id, data_format=data_format)
    return Recording(
        suite=suite,
        policy=policy,
        everything=everything,
        population=everyone,
        dataset_id=usual if dataset_id is None else datasets.check_id(dataset_id),
        data_format=data_format,
        recipe=recipe,
        command=command or provenance.python_call(suite, recipe, own_id, data_format),
    )


def _choose_agents(
    suite: Suite, agents: object, population: object
) -> tuple[NDArray[np.int64], Population]:
    """The agents to record ``[n]``, and their population.

    Args:
        suite: The task and its covariates.
        agents: How many, from the first on, or their indices.
        population: As for an environment.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an agent does not exist or is named twice, or there are none.
    """
    if isinstance(agents, (int, np.integer)):
        count = checks.integer("agents", agents, 1)
        if population is None and count > DEFAULT_SIZE:
            population = count
        elif isinstance(population, Mapping) and not {"size", "covariates"} & set(population):
            population = {"size": max(DEFAULT_SIZE, count), **population}
        everyone = suite.population(population)
        if count > len(everyone):
            raise ValueError(
                f"{count} agents are to be recorded, but this population has {len(everyone)}: give "
                "a larger one"
            )
        return np.arange(count), everyone
    if not isinstance(agents, (Sequence, np.ndarray)) or isinstance(agents, str):
        raise TypeError(
            f"agents must be how many agents to record, or a sequence of indices, got {agents!r}"
        )
    everyone = suite.population(population)
    if np.ndim(agents) != 1 or len(agents) == 0:
        raise ValueError(f"agents must name at least one agent, in one dimension, got {agents!r}")
    chosen = as_agents(agents, len(agents), len(everyone))
    values, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"agent {values[counts > 1][0]} is named {counts.max()} times: give episodes= for more "
            "than one episode of an agent"
        )
    return chosen, everyone


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording that has been checked and can be run; :func:`prepare` makes them.

    Attributes:
        suite: What is recorded.
        policy: Who acts.
        everything: All episodes.
        population: The agents with their covariates.
        dataset_id: Id of the data set.
        data_format: Minari's name of its format.
        recipe: All that decides what is recorded, as plain types.
        command: How the same data are made again.
    """

    suite: Suite
    policy: Policy
    everything: EpisodeBatch
    population: Population
    dataset_id: str
    data_format: str
    recipe: dict[str, Any]
    command: str

    @property
    def steps(self) -> int:
        """Steps if no episode ends before its time limit."""
        return len(self.everything) * self.everything.horizon

    def run(
        self,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
        progress: bool | None = None,
    ) -> MinariDataset:
        """Record; arguments, result and errors as of :func:`record`."""
        horizon = self.everything.horizon
        dynamics = self.suite.dynamics(self.population)
        with (
            datasets.publishing(self.dataset_id, overwrite) as folder,
            reporter(f"record {self.suite.name}", progress, on_progress) as report,
        ):
            spec = provenance.env_spec(self.suite, self.population, horizon)
            storage = datasets.new_storage(folder, self.everything.task, spec, self.data_format)
            storage.update_metadata(
                provenance.minari_metadata(self.dataset_id, self.suite, self.recipe, self.command)
            )
            filled = fill(storage, self.everything, dynamics, self.policy, report)
            summary = provenance.summary(len(np.unique(self.everything.agents)), filled.returns)
            if stopped := sum(filled.stopped.values()):
                summary["stopped"] = stopped
                _LOG.warning(
                    "%s: physics broke in %d of %d episodes, which end there",
                    self.dataset_id, stopped, len(filled.returns),
                )  # fmt: skip
            card = {
                **self.recipe,
                "command": self.command,
                "version": provenance.version("persim-gym"),
                "sha256": filled.sha256,
                "summary": summary,
            }
            integrity.seal(storage, card)
        return datasets.load(self.dataset_id)


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of episodes that were recorded.

    Attributes:
        sha256: Hash of their content.
        returns: Their undiscounted returns ``[n]``.
        stopped: How many a guard, or broken physics, has cut off, by the reason.
    """

    sha256: str
    returns: list[float]
    stopped: dict[str, int]


def fill(
    storage: MinariStorage,
    everything: EpisodeBatch,
    dynamics: Dynamics,
    policy: Policy,
    report: Report,
    **options: Any,
) -> Filled:
    """Run episodes to their ends and add them to a data set.

    Args:
        storage: The data set's storage.
        everything: The episodes.
        dynamics: True or learned.
        policy: Who acts.
        report: Called with how many steps are done, and of how many.
        **options: Of :func:`~persim_gym.offline.episodes.record_batch`.

    Raises:
        TypeError: If the policy's actions have the wrong type.
        ValueError: If an action or a state cannot be recorded.
    """
    horizon, done = everything.horizon, 0
    returns: list[float] = []
    stopped: dict[str, int] = {}
    digest = provenance.ContentHash()
    for batch in _batches(everything):

        def report_step(steps: int, before: int = done) -> None:
            report(before + steps, len(everything) * horizon)

        buffers, broken = record_batch(batch, dynamics, policy, report_step, **options)
        for reason, count in broken.items():
            stopped[reason] = stopped.get(reason, 0) + count
        datasets.append(storage, buffers)
        for buffer in buffers:
            arrays = (getattr(buffer, name) for name in provenance.ARRAYS)
            digest.update(buffer.seed, buffer.options, arrays)
            returns.append(float(np.sum(buffer.rewards)))
        done += len(batch) * horizon
    return Filled(digest.hexdigest(), returns, stopped)


def _batches(everything: EpisodeBatch) -> Iterator[EpisodeBatch]:
    size = min(LANES, max(1, TRANSITIONS // everything.horizon))
    for first in range(0, len(everything), size):
        yield everything.rows(slice(first, first + size))
