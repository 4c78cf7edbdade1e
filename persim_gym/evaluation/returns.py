"""Returns of a policy: all agents and episodes as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Task, check_dynamics, check_task, several_agents
from persim_gym.policies.behaviours import as_policy
from persim_gym.progress import OnProgress
from persim_gym.rollout import EpisodeBatch, Moved, play, start_episodes

# What evaluations draw must not be what a recording of the same seed has drawn.
_EVALUATION = 0x6576


def episode_returns(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    policy: Any,
    episodes: int = 20,
    seed: int = 0,
    **options: Any,
) -> NDArray[np.float64]:
    """Returns alone ``[A, episodes]``; arguments and errors of :func:`episode_outcomes`."""
    return episode_outcomes(task, dynamics, agents, policy, episodes, seed, **options).returns


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of episodes.

    Attributes:
        returns: Undiscounted returns ``[A, episodes]``.
        stopped: Whether broken physics, or a simulator's guard, cut the episode off; its return
            counts up to there ``[A, episodes]``.
    """

    returns: NDArray[np.float64]
    stopped: NDArray[np.bool_]


def episode_outcomes(
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
) -> Outcomes:
    """Undiscounted returns of a policy, all agents and episodes as one batch.

    In true physics these are the policy's real returns. In a
    :class:`~persim_gym.learned.environments.guard.GuardedSimulator` they are those inside the
    simulator, cut off where its guard stops.

    Episode ``e`` of every agent starts as an environment that is reset with
    ``start_seeds(seed, episodes)[e]``.

    Args:
        task: Reward, termination, start states.
        dynamics: True or learned.
        agents: ``[A]``.
        policy: Anything with ``predict``, or ``"random"``. An
            :class:`~persim_gym.planning.mpc.MPC` plans for the agent of each row, whichever it
            was made for.
        episodes: Episodes of each agent.
        seed: Seed of start states, and of policies that draw from it.
        max_episode_steps: Time limit; by default the task's.
        deterministic: What ``predict`` is asked for.
        on_progress: Called with how many steps are done, and of how many.

    Returns:
        Returns, and which episodes were stopped.

    Raises:
        TypeError: If an agent is no integer, or the policy is none.
        ValueError: If an argument is invalid.
    """
    limit = task.max_episode_steps if max_episode_steps is None else max_episode_steps
    batch = episode_batch(task, dynamics, agents, episodes, seed, limit, deterministic)
    returns, stopped = np.zeros(len(batch)), np.zeros(len(batch), dtype=np.bool_)
    done = 0
    for moved in follow_policy(dynamics, batch, policy, seed):
        returns[moved.rows] += moved.result.reward
        stopped[moved.rows] = moved.result.stopped
        done += int(moved.over.sum())
        if on_progress is not None:
            running = len(batch) - done
            on_progress(done * limit + running * (moved.step + 1), len(batch) * limit)
    return Outcomes(returns.reshape(-1, episodes), stopped.reshape(-1, episodes))


def start_seeds(seed: int, episodes: int) -> list[int]:
    """Seeds with which environments start as the episodes of an evaluation do."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 0))
    return [int(word) for word in sequence.generate_state(episodes)]


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
    episodes, seed = checks.integer("episodes", episodes, 1), checks.integer("seed", seed)
    steps = checks.integer("max_episode_steps", steps, 1)
    check_task(task)
    check_dynamics(dynamics)
    chosen = several_agents(dynamics, agents)
    behaviour = np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 1)).generate_state(1)
    return EpisodeBatch.of_each(
        task,
        chosen,
        episodes,
        horizon=steps,
        seed=int(behaviour[0]),
        deterministic=deterministic,
        # Behaviours that act by the agent's covariates need those of true agents.
        population=getattr(dynamics, "population", None),
    )


def start_states(batch: EpisodeBatch, seed: int) -> NDArray[np.float64]:
    """Start states ``[n, d]``, those that a scalar environment draws."""
    seeds = start_seeds(seed, int(batch.episodes.max()) + 1)
    starts = [batch.task.sample_start(seeding.np_random(own)[0], 1)[0] for own in seeds]
    return np.stack(starts)[batch.episodes]


def follow_policy(
    dynamics: Dynamics, batch: EpisodeBatch, policy: Any, seed: int
) -> Iterator[Moved]:
    """Step the episodes of an evaluation to their ends under a policy."""
    choose = start_episodes(as_policy(policy, batch.task), batch)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_EVALUATION, 2)))
    return play(dynamics, batch, start_states(batch, seed), choose, rng)
