"""Playing episodes of many agents side by side, and what they earn: one batch, no loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task, agents_of
from persim_gym.envs.lanes import Lanes, LaneStep, check_actions
from persim_gym.planning import MPC
from persim_gym.policies.behaviours import Chooser, EpisodeBatch, as_policy, start_episodes

#: Told how much is done, and of how much.
OnProgress = Callable[[int, int], None]

# What evaluations draw must not be what a recording of the same seed has drawn.
_EVALUATION = 0x6576


def episode_returns(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    policy: Any,
    episodes: int = 20,
    seed: int = 0,
    *,
    max_episode_steps: int | None = None,
    deterministic: bool = True,
    on_progress: OnProgress | None = None,
) -> NDArray[np.float64]:
    """Undiscounted returns of a policy, all agents and episodes as one batch.

    In true physics these are the policy's real returns. In a
    :class:`~persim_gym.learned.env.GuardedSimulator` they are those inside the simulator, cut off
    where its guard stops.

    Episode ``e`` of every agent starts as an environment that is reset with
    ``start_seeds(seed, episodes)[e]``.

    Args:
        task: Reward, termination, start states.
        dynamics: True or learned.
        agents: ``[A]``.
        policy: Anything with ``predict``, ``"random"``, or an :class:`MPC`, which then plans for
            the agent of each row, whichever it was made for.
        episodes: Episodes of each agent.
        seed: Seed of start states, and of policies that draw from it.
        max_episode_steps: Time limit; by default the task's.
        deterministic: What ``predict`` is asked for.
        on_progress: Told how many steps are done, and of how many.

    Returns:
        ``[A, episodes]``.

    Raises:
        TypeError: If an agent is no integer, or the policy is none.
        ValueError: If an argument is invalid.
    """
    limit = task.max_episode_steps if max_episode_steps is None else max_episode_steps
    batch = episode_batch(task, dynamics, agents, episodes, seed, limit, deterministic)
    returns = np.zeros(len(batch))
    done = 0
    for step, moved in enumerate(play(task, dynamics, batch, policy, seed)):
        returns[moved.rows] += moved.step.reward
        done += int(moved.over.sum())
        if on_progress is not None:
            running = len(batch) - done
            on_progress(done * limit + running * (step + 1), len(batch) * limit)
    return returns.reshape(-1, episodes)


def start_seeds(seed: int, episodes: int) -> list[int]:
    """Seeds with which environments start as the episodes of an evaluation do."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 0))
    return [int(word) for word in sequence.generate_state(episodes)]


# -- playing ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """One step of the episodes that still run.

    Attributes:
        rows: Which episodes of the batch ``[n]``.
        actions: What they did ``[n(, a)]``.
        step: What came of it.
        over: Which of them have ended with it ``[n]``.
    """

    rows: NDArray[np.int64]
    actions: NDArray[Any]
    step: LaneStep
    over: NDArray[np.bool_]


def episode_batch(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    episodes: int,
    seed: int,
    steps: int,
    deterministic: bool = True,
) -> EpisodeBatch:
    """Episodes of all agents, an agent's one after the other, checked before any work."""
    check_whole(episodes=(episodes, 1), seed=(seed, 0), max_episode_steps=(steps, 1))
    chosen = np.empty(0, dtype=np.int64)
    if len(agents):
        chosen = agents_of(dynamics, agents, len(agents))
    if len(chosen) == 0 or len(np.unique(chosen)) < len(chosen):
        raise ValueError(f"agents must be one or more different agents, got {list(agents)}")
    behaviour = np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 1)).generate_state(1)
    return EpisodeBatch(
        task=task,
        agents=np.repeat(chosen, episodes),
        episodes=np.tile(np.arange(episodes), len(chosen)),
        horizon=steps,
        seed=int(behaviour[0]),
        deterministic=deterministic,
        # Behaviours that act by the agent's covariates need those of true agents.
        population=getattr(dynamics, "population", None),
    )


def start_states(task: Task, batch: EpisodeBatch, seed: int) -> NDArray[np.float64]:
    """Start states ``[n, d]``, those that a scalar environment draws."""
    seeds = start_seeds(seed, int(batch.episodes.max()) + 1)
    starts = [task.sample_start(seeding.np_random(own)[0], 1)[0] for own in seeds]
    return np.stack(starts)[batch.episodes]


def play(
    task: Task, dynamics: Dynamics, batch: EpisodeBatch, policy: Any, seed: int
) -> Iterator[Moved]:
    """Step all episodes of a batch to their ends, those alone that still run."""
    n = len(batch)
    choose = _chooser(policy, batch)
    lanes = Lanes(task, dynamics, batch.agents.copy(), batch.horizon)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 2)))
    running = np.arange(n)
    lanes.begin(running, start_states(task, batch, seed), rng)
    for step in range(batch.horizon):
        obs = lanes.obs[running].astype(np.float32)
        actions = check_actions(task, choose(step, running, obs), len(running))
        moved = lanes.advance(actions, rng, None if len(running) == n else running)
        over = moved.terminated | moved.truncated
        yield Moved(running, actions, moved, over)
        running = running[~over]
        if len(running) == 0:
            return


def _chooser(policy: Any, batch: EpisodeBatch) -> Chooser:
    if isinstance(policy, MPC):
        return _Planning(policy, batch.agents)
    return start_episodes(as_policy(policy, batch.task), batch)


class _Planning:
    """MPC for the running rows alone: the plans of those that are over are dropped."""

    def __init__(self, mpc: MPC, agents: NDArray[np.int64]) -> None:
        self._mpc, self._agents = mpc, agents
        self._rows: NDArray[np.int64] = np.arange(len(agents))
        self._state: Any = None

    def __call__(
        self, step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]
    ) -> NDArray[Any]:
        if self._state is not None and len(lanes) < len(self._rows):
            kept = np.searchsorted(self._rows, lanes)
            self._state = tuple(part[kept] for part in self._state)
        self._rows = lanes
        actions, self._state = self._mpc.plan(self._agents[lanes], obs, self._state)
        return actions


def check_whole(**numbers: tuple[object, int]) -> None:
    """Check numbers that count something, given as ``name=(value, least)``.

    Raises:
        TypeError: If one is no integer.
        ValueError: If one is too small.
    """
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(
                f"{name} must be an integer, got {value!r} of type {type(value).__name__}"
            )
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
