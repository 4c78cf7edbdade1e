"""The recorder: trajectories of a population under a behaviour policy, as a Minari data set."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.metadata
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import seeding
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray

import persim_gym
from persim_gym.core import Dynamics, Policy, as_agents
from persim_gym.envs.agents import DEFAULT_SIZE, Population
from persim_gym.envs.lanes import Lanes
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.offline import datasets
from persim_gym.offline.behaviours import (
    EpisodeBatch,
    as_policy,
    behaviour_name,
    check_shape,
    episode_seed,
    start_episodes,
)

#: Episodes side by side, and transitions in memory at once (which bounds the former for long ones).
LANES = 1024
TRANSITIONS = 2**20

OnProgress = Callable[[int, int], None]


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
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> MinariDataset:
    """Record trajectories of agents and keep them as a Minari data set.

    Each episode has a seed of its own and the agent in its reset options: reset with both and fed
    the recorded actions, ``dataset.recover_environment()`` gives the recorded observations,
    rewards and flags bit for bit. An episode under this package's behaviours depends on nothing
    but the seed, its agent and its index among the agent's episodes: a recording of 25 agents is
    the beginning of one of 500.

    The data set appears when it is complete; a recording that fails or is killed leaves nothing,
    and leaves an older data set of the same id as it was. It is stored where Minari stores data
    sets (``MINARI_DATASETS_PATH``).

    Args:
        env_id: An environment id of this package, or a task's name, such as ``"cartpole"``.
        policy: ``"random"``, a function of observations ``[n, d]``, or anything with ``predict``.
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
        on_progress: Told how many steps are done, and of how many; an episode that ends early
            counts as done to its time limit.
        progress: Show a progress bar; by default where there is a terminal.

    Returns:
        The data set; episodes are in the order of ``agents``, an agent's one after the other.

    Raises:
        TypeError: If an argument has the wrong type, or the policy's actions have.
        ValueError: If an argument is invalid, the data set exists, or the policy gives an action
            that is not finite or does not exist.
    """
    if not isinstance(env_id, str):
        raise TypeError(f"an environment id or a task's name is needed, got {env_id!r}")
    suite = find_suite(env_id)
    task = suite.task()
    policy = as_policy(policy, task)
    episodes = _whole("episodes", episodes, least=1)
    seed = _whole("seed", seed, least=0)
    horizon = task.max_episode_steps
    if max_episode_steps is not None:
        horizon = _whole("max_episode_steps", max_episode_steps, least=1)
    chosen, people = _agents(suite, agents, population)
    behaviour = behaviour_name(policy)
    if dataset_id is None:
        dataset_id = f"persim/{suite.name}/{behaviour}-v0"

    everything = EpisodeBatch(
        task=task,
        agents=np.repeat(chosen, episodes),
        episodes=np.tile(np.arange(episodes), len(chosen)),
        horizon=horizon,
        seed=seed,
        deterministic=deterministic,
        population=people,
    )
    dynamics = suite.dynamics(people)
    with (
        datasets.publishing(dataset_id, overwrite) as folder,
        _reporter(suite.name, progress, on_progress) as report,
    ):
        spec = _env_spec(suite, people, horizon)
        storage = datasets.new_storage(folder, task, spec, data_format)
        storage.update_metadata(_card(dataset_id, suite, behaviour, everything, people))
        total = len(everything) * horizon
        done = 0
        returns: list[float] = []
        for batch in _batches(everything):

            def report_step(steps: int, before: int = done) -> None:
                report(before + steps, total)

            buffers = _record_batch(batch, dynamics, policy, report_step)
            storage.update_episodes(buffers)
            returns += [float(np.sum(buffer.rewards)) for buffer in buffers]
            done += len(batch) * horizon
        card = storage.metadata[datasets.CARD]
        card["summary"] = {
            "agents": len(chosen),
            "episodes": len(returns),
            "mean_return": float(np.mean(returns)),
        }
        storage.update_metadata({datasets.CARD: card})
    return datasets.load(dataset_id)


def _batches(everything: EpisodeBatch) -> Iterator[EpisodeBatch]:
    size = min(LANES, max(1, TRANSITIONS // everything.horizon))
    for first in range(0, len(everything), size):
        rows = slice(first, first + size)
        yield EpisodeBatch(
            task=everything.task,
            agents=everything.agents[rows],
            episodes=everything.episodes[rows],
            horizon=everything.horizon,
            seed=everything.seed,
            deterministic=everything.deterministic,
            population=everything.population,
        )


def _record_batch(
    batch: EpisodeBatch,
    dynamics: Dynamics,
    policy: Policy,
    report: Callable[[int], None],
) -> list[EpisodeBuffer]:
    """Run the episodes of a batch to their ends."""
    task, n, horizon = batch.task, len(batch), batch.horizon
    space = task.action_space
    rows = zip(batch.agents.tolist(), batch.episodes.tolist(), strict=True)
    seeds = [
        int(episode_seed(batch.seed, agent, episode, 0).generate_state(1)[0])
        for agent, episode in rows
    ]
    obs = np.empty((n, horizon + 1, *task.observation_space.shape), dtype=np.float32)
    actions = np.empty((n, horizon, *(space.shape or ())), dtype=space.dtype)
    rewards = np.empty((n, horizon))
    terminated = np.zeros((n, horizon), dtype=np.bool_)
    truncated = np.zeros((n, horizon), dtype=np.bool_)
    lengths = np.zeros(n, dtype=np.int64)

    lanes = Lanes(task, dynamics, batch.agents.copy(), horizon)
    running = np.arange(n)
    # True physics draws nothing; the shells want a generator all the same.
    rng = np.random.default_rng(episode_seed(batch.seed, 0, 0, 0))
    start = np.concatenate([task.sample_start(seeding.np_random(s)[0], 1) for s in seeds])
    lanes.begin(running, start, rng)
    obs[:, 0] = start
    choose = start_episodes(policy, batch)
    for step in range(horizon):
        chosen = choose(step, running, obs[running, step])
        chosen = _check_chosen(chosen, batch, running, step)
        actions[running, step] = chosen
        stepped = chosen if isinstance(space, Discrete) else chosen.astype(np.float64)
        moved = lanes.advance(stepped, rng, None if len(running) == n else running)
        obs[running, step + 1] = moved.obs
        rewards[running, step] = moved.reward
        terminated[running, step] = moved.terminated
        truncated[running, step] = moved.truncated
        over = moved.terminated | moved.truncated
        lengths[running[over]] = step + 1
        running = running[~over]
        report((n - len(running)) * horizon + len(running) * (step + 1))
        if len(running) == 0:
            break
    return [
        EpisodeBuffer(
            seed=seeds[lane],
            options={"agent": int(batch.agents[lane])},
            observations=obs[lane, : length + 1],
            actions=actions[lane, :length],
            rewards=rewards[lane, :length],
            terminations=terminated[lane, :length],
            truncations=truncated[lane, :length],
        )
        for lane, length in enumerate(lengths.tolist())
    ]


def _check_chosen(
    actions: object, batch: EpisodeBatch, running: NDArray[np.int64], step: int
) -> NDArray[Any]:
    """A policy's actions as they are recorded and executed: of the space's type, inside it."""
    space = batch.task.action_space
    array = np.asarray(actions)
    check_shape(array, len(running), space)

    def whose(row: int) -> str:
        lane = running[row]
        return f"for agent {batch.agents[lane]} at step {step} (episode {batch.episodes[lane]})"

    discrete = isinstance(space, Discrete)
    if array.dtype.kind == "f":
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(
                f"the policy's action {whose(row)} is not finite: {array[row].tolist()}"
            )
    if array.dtype.kind not in ("iu" if discrete else "iuf"):
        kind = "integers" if discrete else "numbers"
        raise TypeError(f"the policy's actions must be {kind}, got {array.dtype} {whose(0)}")
    if not isinstance(space, Discrete):
        # Clipped as the environment does it, so that what is recorded is what was executed.
        return np.clip(array, space.low, space.high).astype(space.dtype)
    first, last = int(space.start), int(space.start + space.n) - 1
    outside = (array < first) | (array > last)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"the policy's action {whose(row)} is {array[row]}, an action must be {first} to {last}"
        )
    return array.astype(space.dtype)


# -- arguments -------------------------------------------------------------------------------------


def _whole(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _agents(
    suite: Suite, agents: object, population: object
) -> tuple[NDArray[np.int64], Population]:
    """The agents to record ``[n]``, and their population."""
    if isinstance(agents, (int, np.integer)):
        count = _whole("agents", agents, least=1)
        if population is None and count > DEFAULT_SIZE:
            population = count
        elif isinstance(population, Mapping) and not {"size", "covariates"} & set(population):
            population = {"size": max(DEFAULT_SIZE, count), **population}
        people = suite.population(population)
        if count > len(people):
            raise ValueError(
                f"{count} agents are to be recorded, but this population has {len(people)}: give "
                "a larger one"
            )
        return np.arange(count), people
    if not isinstance(agents, (Sequence, np.ndarray)) or isinstance(agents, str):
        raise TypeError(
            f"agents must be how many agents to record, or a sequence of indices, got {agents!r}"
        )
    people = suite.population(population)
    if np.ndim(agents) != 1 or len(agents) == 0:
        raise ValueError(f"agents must name at least one agent, in one dimension, got {agents!r}")
    chosen = as_agents(agents, len(agents), len(people))
    values, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"agent {values[counts > 1][0]} is named {counts.max()} times: give episodes= for more "
            "than one episode of an agent"
        )
    return chosen, people


# -- what is written with the data -----------------------------------------------------------------


def _env_spec(suite: Suite, population: Population, horizon: int) -> Any:
    spec = copy.deepcopy(gym.spec(suite.env_id))
    spec.max_episode_steps = horizon
    if population != suite.population():
        spec.kwargs["population"] = population.to_json()
    return spec


def _card(
    dataset_id: str,
    suite: Suite,
    behaviour: str,
    everything: EpisodeBatch,
    population: Population,
) -> dict[str, Any]:
    agents = list(dict.fromkeys(everything.agents.tolist()))
    episodes = len(everything) // len(agents)
    # Another version of MuJoCo is other physics: a replay is exact under the same one only.
    requirements = [f"{name}>={_version(name)}" for name in ("persim-gym", "gymnasium", "minari")]
    if suite.name == "half-cheetah":
        requirements.append(f"mujoco=={_version('mujoco')}")
    return {
        "dataset_id": dataset_id,
        "minari_version": _version("minari"),
        "author": {"persim_gym"},
        "algorithm_name": behaviour,
        "description": (
            f"{suite.env_id}: {len(agents)} agents that differ in "
            f"{' and '.join(suite.covariates.names)}, {episodes} "
            f"{'episode' if episodes == 1 else 'episodes'} each, behaviour {behaviour!r}, recorded "
            f"with persim_gym {persim_gym.__version__}. The agent of an episode is in its reset "
            "options."
        ),
        "requirements": requirements,
        datasets.CARD: {
            "task": suite.name,
            "behaviour": behaviour,
            "seed": everything.seed,
            "population": population.to_json(),
            "max_episode_steps": everything.horizon,
            "version": persim_gym.__version__,
        },
    }


@functools.cache
def _version(name: str) -> str:
    if name == "persim-gym":
        return persim_gym.__version__
    return importlib.metadata.version(name)


@contextlib.contextmanager
def _reporter(task: str, show: bool | None, on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """What to call after each step: a bar (by default on a terminal) and the caller's own."""
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield on_progress or (lambda done, total: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn(f"record {task}"), BarColumn(), TaskProgressColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task("record", total=None)

        def report(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)
            if on_progress is not None:
                on_progress(done, total)

        yield report
