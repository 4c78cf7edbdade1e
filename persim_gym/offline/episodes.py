"""Episodes that are recorded: run side by side, checked, and kept as Minari writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import seeding
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Policy
from persim_gym.envs.lanes import LaneStep
from persim_gym.offline.transitions import LARGEST
from persim_gym.rollout import (
    Chooser,
    EpisodeBatch,
    check_shape,
    episode_seed,
    play,
    start_episodes,
)


def record_batch(
    batch: EpisodeBatch,
    dynamics: Dynamics,
    policy: Policy,
    report: Callable[[int], None],
    *,
    keep: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> tuple[list[EpisodeBuffer], dict[str, int]]:
    """Run the episodes of a batch to their ends.

    Args:
        batch: The episodes.
        dynamics: True or learned.
        policy: Who acts.
        report: Called after each step with how many are done; ended episodes count in full.
        keep: Numbers that the dynamics gives with each step and that are kept in the infos, such
            as ``"guard"``; 0 at the beginning of an episode.
        names: What agents are called in the data ``[N]``; by default by their indices.

    Returns:
        The episodes, and how many of them broken physics or a guard cut off, by the reason.

    Raises:
        TypeError: If the policy's actions have the wrong type.
        ValueError: If an action or a state cannot be recorded.
    """
    task, n, horizon = batch.task, len(batch), batch.horizon
    space = task.action_space
    seeds = _seeds(batch)
    obs = np.empty((n, horizon + 1, *task.observation_space.shape), dtype=np.float32)
    actions = np.empty((n, horizon, *(space.shape or ())), dtype=space.dtype)
    rewards = np.empty((n, horizon))
    terminated, truncated = np.zeros((2, n, horizon), dtype=np.bool_)
    lengths = np.zeros(n, dtype=np.int64)
    kept = {name: np.zeros((n, horizon + 1, 1)) for name in keep}
    stopped: dict[str, int] = {}
    done = 0
    # True physics draws nothing; the loop wants a generator all the same.
    first = int(batch.agents[0]), int(batch.episodes[0])
    rng = np.random.default_rng(episode_seed(batch.seed, *first, 0))
    start = np.concatenate([task.sample_start(seeding.np_random(s)[0], 1) for s in seeds])
    obs[:, 0] = start
    choose = _checked(start_episodes(policy, batch), batch)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
        for moved in play(dynamics, batch, start, choose, rng):
            result, at = moved.result, (moved.rows, moved.step)
            _check_moved(result, batch, moved.rows, moved.step)
            obs[moved.rows, moved.step + 1] = result.obs
            actions[at], rewards[at] = moved.actions, result.reward
            terminated[at], truncated[at] = result.terminated, result.truncated
            for reason in result.info["guard"][result.stopped] if result.stopped.any() else ():
                stopped[str(reason)] = stopped.get(str(reason), 0) + 1
            for name, values in kept.items():
                values[moved.rows, moved.step + 1, 0] = result.info[name]
            done += int(moved.over.sum())
            lengths[moved.rows[moved.over]] = moved.step + 1
            report(done * horizon + (n - done) * (moved.step + 1))
    # Minari's combine_datasets drops reset options: so the agent stands in the infos, too. In two
    # dimensions, for Minari cannot read arrays of one back from Arrow's infos.
    kind = np.min_scalar_type(len(batch.population) - 1) if batch.population else np.dtype("i8")
    buffers = [
        EpisodeBuffer(
            seed=seeds[lane],
            options={"agent": names[batch.agents[lane]] if names else int(batch.agents[lane])},
            infos={
                # Names stand in the reset options alone: not every format has text in infos.
                **({} if names else {"agent": np.full((length + 1, 1), batch.agents[lane], kind)}),
                **{name: values[lane, : length + 1] for name, values in kept.items()},
            },
            observations=obs[lane, : length + 1],
            actions=actions[lane, :length],
            rewards=rewards[lane, :length],
            terminations=terminated[lane, :length],
            truncations=truncated[lane, :length],
        )
        for lane, length in enumerate(lengths.tolist())
    ]
    return buffers, stopped


def _seeds(batch: EpisodeBatch) -> list[int]:
    """The environment's seed of each episode."""
    rows = zip(batch.agents.tolist(), batch.episodes.tolist(), strict=True)
    streams = (episode_seed(batch.seed, agent, episode, 0) for agent, episode in rows)
    return [int(stream.generate_state(1)[0]) for stream in streams]


def _checked(choose: Chooser, batch: EpisodeBatch) -> Chooser:
    return lambda step, lanes, obs: _check_chosen(choose(step, lanes, obs), batch, lanes, step)


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
    # Too large for single precision counts as infinite: what cannot be read is not recorded.
    fine = (np.abs(moved.obs) <= LARGEST).all(axis=1) & np.isfinite(moved.reward)
    if not fine.all():
        row = int(np.argmin(fine))
        raise ValueError(
            f"the true dynamics of {_whose(batch, running[row], step)} gave an observation or a "
            "reward that is too large for float32, or not finite: "
            f"{moved.obs[row].tolist()}, {moved.reward[row]}; nothing was recorded: leave the "
            "agent out, or choose other ranges of the covariates"
        )


def _whose(batch: EpisodeBatch, lane: int, step: int) -> str:
    return f"agent {batch.agents[lane]} at step {step} (episode {batch.episodes[lane]})"
