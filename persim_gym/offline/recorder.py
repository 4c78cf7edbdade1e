"""The recorder: trajectories of a population under a behaviour policy, as a Minari data set."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import seeding
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Policy
from persim_gym.envs.lanes import Lanes, LaneStep
from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.offline import datasets, provenance
from persim_gym.offline.checks import check_wrapped, choose_agents
from persim_gym.policies.behaviours import (
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
        on_progress: Told how many steps are done, and of how many; an episode that ends early
            counts as done to its time limit.
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

    Whether there is a data set of the id already is not looked at.
    """
    if not isinstance(env_id, str):
        raise TypeError(f"an environment id or a task's name is needed, got {env_id!r}")
    suite = find_suite(env_id)
    task = suite.task()
    named = policy if isinstance(policy, str) else None
    policy = as_policy(policy, task)
    check_wrapped(policy, task)
    episodes = checks.integer("episodes", episodes, 1)
    seed = checks.integer("seed", seed)
    deterministic = checks.switch("deterministic", deterministic)
    horizon = task.max_episode_steps
    if max_episode_steps is not None:
        horizon = checks.integer("max_episode_steps", max_episode_steps, 1)
    chosen, people = choose_agents(suite, agents, population)
    # Of every episode its agent, number, state and length.
    what = f"episodes={episodes} of {len(chosen)} agents"
    checks.enough_memory(what, 64 * episodes * len(chosen), "record fewer episodes at once")
    datasets.check_format(data_format)
    behaviour = named or behaviour_name(policy)
    recipe = provenance.make_recipe(
        suite, behaviour, chosen, episodes, seed, people, horizon, deterministic
    )
    usual = f"{datasets.NAMESPACE}/{suite.name}/{behaviour}-v0"
    everything = EpisodeBatch(
        task=task,
        agents=np.repeat(chosen, episodes),
        episodes=np.tile(np.arange(episodes), len(chosen)),
        horizon=horizon,
        seed=seed,
        deterministic=deterministic,
        population=people,
    )
    if named is not None:  # reads what the behaviour needs from disk
        start_episodes(policy, everything.rows(slice(1)))
    own_id = None if dataset_id in (None, usual) else dataset_id
    if command is None and named is not None:
        command = provenance.command_line(recipe, dataset_id=own_id, data_format=data_format)
    return Recording(
        suite=suite,
        policy=policy,
        everything=everything,
        population=people,
        dataset_id=usual if dataset_id is None else datasets.check_id(dataset_id),
        data_format=data_format,
        recipe=recipe,
        command=command or provenance.python_call(suite, recipe, own_id, data_format),
    )


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
            _reporter(self.suite.name, progress, on_progress) as report,
        ):
            spec = provenance.env_spec(self.suite, self.population, horizon)
            storage = datasets.new_storage(folder, self.everything.task, spec, self.data_format)
            storage.update_metadata(
                provenance.minari_metadata(self.dataset_id, self.suite, self.recipe, self.command)
            )
            done = 0
            returns: list[float] = []
            digest = provenance.ContentHash()
            for batch in _batches(self.everything):

                def report_step(steps: int, before: int = done) -> None:
                    report(before + steps, self.steps)

                buffers = _record_batch(batch, dynamics, self.policy, report_step)
                datasets.append(storage, buffers)
                for buffer in buffers:
                    arrays = (getattr(buffer, name) for name in provenance.ARRAYS)
                    digest.update(buffer.seed, buffer.options, arrays)
                    returns.append(float(np.sum(buffer.rewards)))
                done += len(batch) * horizon
            summary = {
                "agents": len(np.unique(self.everything.agents)),
                "episodes": len(returns),
                "mean_return": float(np.mean(returns)),
            }
            card = {
                **self.recipe,
                "command": self.command,
                "version": provenance.version("persim-gym"),
                "sha256": digest.hexdigest(),
                "summary": summary,
            }
            storage.update_metadata({datasets.CARD: card})
        return datasets.load(self.dataset_id)


def _batches(everything: EpisodeBatch) -> Iterator[EpisodeBatch]:
    size = min(LANES, max(1, TRANSITIONS // everything.horizon))
    for first in range(0, len(everything), size):
        yield everything.rows(slice(first, first + size))


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
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
            moved = lanes.advance(stepped, rng, None if len(running) == n else running)
        _check_moved(moved, batch, running, step)
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
        return f"for {_whose(batch, running[row], step)}"

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


def _check_moved(
    moved: LaneStep, batch: EpisodeBatch, running: NDArray[np.int64], step: int
) -> None:
    """Refuse what no simulator can be fitted on: covariates of one's own may break the physics."""
    # Observations are kept in single precision, where more than this is infinite.
    finite = (np.abs(moved.obs) <= np.finfo(np.float32).max).all(axis=1)
    finite &= np.isfinite(moved.reward)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"the true dynamics of {_whose(batch, running[row], step)} gave an observation or a "
            f"reward that is not finite: {moved.obs[row].tolist()}, "
            f"{moved.reward[row]} in single precision; nothing "
            "was recorded: leave the agent out, or choose other ranges of the covariates"
        )


def _whose(batch: EpisodeBatch, lane: int, step: int) -> str:
    return f"agent {batch.agents[lane]} at step {step} (episode {batch.episodes[lane]})"


# -- progress --------------------------------------------------------------------------------------


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
