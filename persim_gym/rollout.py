"""Episodes side by side, all beginning at once: the one vectorised loop of the library.

Recordings, evaluations, policy training and adaptation all step their episodes here; they differ
in where episodes begin, who acts and what they keep.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Policy, Task
from persim_gym.envs.lanes import Lanes, LaneStep
from persim_gym.envs.populations import Population

#: Chooses in the running lanes: time step, lanes ``[k]``, their observations ``[k, d]`` (float32)
#: -> actions ``[k(, a)]``.
Chooser = Callable[[int, NDArray[np.int64], NDArray[np.float32]], NDArray[Any]]


def episode_seed(seed: int, agent: int, episode: int, stream: int) -> np.random.SeedSequence:
    """The seed of one stream of random numbers of one episode.

    Stream 0 gives the environment's seed, the others belong to behaviours. A spawn key, unlike a
    list of integers, is never confused with one that has a zero more at its end.
    """
    return np.random.SeedSequence(seed, spawn_key=(agent, episode, stream))


@dataclass(frozen=True)
class EpisodeBatch:
    """Episodes that run side by side, one a lane, all beginning at step 0.

    Attributes:
        task: The task.
        agents: Agent of each lane ``[n]``.
        episodes: Index of the episode among its agent's ``[n]``.
        horizon: Steps after which an episode is truncated.
        seed: Seed of what policies draw.
        deterministic: What is passed to ``predict``.
        population: The agents and their covariates, for behaviours that choose by them.
        depth: How many behaviours are wrapped around the one that is asked.
    """

    task: Task
    agents: NDArray[np.int64]
    episodes: NDArray[np.int64]
    horizon: int
    seed: int
    deterministic: bool = True
    population: Population | None = None
    depth: int = 0

    @classmethod
    def of_each(
        cls, task: Task, agents: NDArray[np.int64], episodes: int, **options: Any
    ) -> EpisodeBatch:
        """Some episodes of every agent, an agent's one after the other.

        Raises:
            ValueError: If there is not memory enough for so many.
        """
        # Start state, agent, number, return: at least 64 bytes of every episode.
        what = f"episodes={episodes} of {len(agents)} agents"
        checks.enough_memory(what, 64 * len(agents) * episodes, "give fewer episodes or agents")
        numbers = np.tile(np.arange(episodes), len(agents))
        return cls(task, np.repeat(agents, episodes), numbers, **options)

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self.agents)

    def generators(self) -> Iterator[np.random.Generator]:
        """A generator for each lane, its own at each depth."""
        for agent, episode in zip(self.agents.tolist(), self.episodes.tolist(), strict=True):
            stream = episode_seed(self.seed, agent, episode, 1 + self.depth)
            yield np.random.default_rng(stream)

    def rows(self, rows: slice) -> EpisodeBatch:
        """Some of the episodes."""
        return dataclasses.replace(self, agents=self.agents[rows], episodes=self.episodes[rows])

    def inner(self) -> EpisodeBatch:
        """The same episodes as a wrapped behaviour sees them."""
        return dataclasses.replace(self, depth=self.depth + 1)


# -- who acts --------------------------------------------------------------------------------------


@runtime_checkable
class Behaviour(Protocol):
    """A policy that knows which episodes begin."""

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Draw what is random in a batch of episodes, and say how to act in it."""


def start_episodes(policy: Policy, batch: EpisodeBatch) -> Chooser:
    """How a policy acts in a batch of episodes, by its own hook or by ``predict``."""
    if isinstance(policy, Behaviour):
        return policy.begin_episodes(batch)
    return _Predicting(policy, batch)


class _Predicting:
    """A policy known only by ``predict``.

    It always sees every lane, those that are over with their last observation: the rows of a
    recurrent policy's state cannot be picked without knowing what the state is.
    """

    def __init__(self, policy: Policy, batch: EpisodeBatch) -> None:
        self._policy = policy
        self._deterministic = batch.deterministic
        self._space = batch.task.action_space
        self._obs = np.zeros((len(batch), *batch.task.observation_space.shape), dtype=np.float32)
        self._state: Any = None

    def __call__(
        self, step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]
    ) -> NDArray[Any]:
        self._obs[lanes] = obs
        n = len(self._obs)
        answer = self._policy.predict(
            self._obs.copy(),
            state=self._state,
            episode_start=np.full(n, step == 0),
            deterministic=self._deterministic,
        )
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TypeError(
                "predict() must return (actions, state), as in Stable-Baselines3, got "
                f"{type(answer).__name__}"
            )
        self._state = answer[1]
        actions = np.asarray(answer[0])
        check_shape(actions, n, self._space)
        return actions[lanes]


def check_shape(actions: NDArray[Any], n: int, space: Space[Any]) -> None:
    """Check that a policy gave one action for each of ``n`` observations.

    Raises:
        ValueError: If it did not.
    """
    expected = (n, *(space.shape or ()))
    if actions.shape != expected:
        raise ValueError(
            f"the policy gave actions of shape {actions.shape} for {n} observations, expected "
            f"{expected}: one action for each row"
        )


# -- the loop --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """One step of the episodes that still run.

    Attributes:
        step: Index of the step, from 0 on.
        rows: Which episodes of the batch ``[n]``.
        actions: What they did ``[n(, a)]``, continuous ones in double precision.
        result: What came of it.
        over: Which of them have ended with it ``[n]``.
    """

    step: int
    rows: NDArray[np.int64]
    actions: NDArray[Any]
    result: LaneStep
    over: NDArray[np.bool_]


def play(
    dynamics: Dynamics,
    batch: EpisodeBatch,
    start: NDArray[np.float64],
    choose: Chooser,
    rng: np.random.Generator,
) -> Iterator[Moved]:
    """Step all episodes of a batch to their ends, those alone that still run.

    Args:
        dynamics: True or learned.
        batch: The episodes.
        start: Their start states ``[n, d]``.
        choose: Who acts.
        rng: Randomness of a dynamics that has some.

    Raises:
        TypeError: If discrete actions are no integers.
        ValueError: If an action does not exist or is not finite.
    """
    n, task = len(batch), batch.task
    lanes = Lanes(task, dynamics, batch.agents.copy(), batch.horizon)
    running = np.arange(n)
    lanes.begin(running, start, rng)
    for step in range(batch.horizon):
        obs = lanes.obs[running].astype(np.float32)
        some = None if len(running) == n else running
        actions = lanes.check_actions(choose(step, running, obs), some)
        result = lanes.advance(actions, rng, some)
        over = result.terminated | result.truncated
        yield Moved(step, running, lanes.cut(actions), result, over)
        running = running[~over]
        if len(running) == 0:
            return


def play_returns(
    task: Task, dynamics: Dynamics, policy: Any, agents: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Undiscounted returns ``[n]`` of a policy, an episode a row, each from a start of its own.

    Args:
        task: Reward, termination, start states.
        dynamics: The true one.
        policy: Acts without memory, by ``predict``; it sees the episodes alone that still run.
        agents: Whose episodes they are ``[n]``; an agent may stand there many times.
        seed: Seed of the start states.
    """
    n, rng = len(agents), np.random.default_rng(seed)
    batch = EpisodeBatch(task, agents, np.arange(n), task.max_episode_steps, seed)
    returns, start = np.zeros(n), task.sample_start(rng, n)
    for moved in play(dynamics, batch, start, lambda _, rows, obs: policy.predict(obs)[0], rng):
        returns[moved.rows] += moved.result.reward
    return returns
