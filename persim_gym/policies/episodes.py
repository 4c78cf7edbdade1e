"""Episodes as a behaviour policy sees them begin: whose they are, and what seeds their chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Task
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
    """Episodes that are recorded side by side, one a lane, all beginning at step 0.

    Attributes:
        task: The task.
        agents: Agent of each lane ``[n]``.
        episodes: Index of the episode among its agent's ``[n]``.
        horizon: Steps after which an episode is truncated.
        seed: Seed of the recording.
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


@runtime_checkable
class Behaviour(Protocol):
    """A policy that is told of the episodes that begin."""

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Draw what is random in a batch of episodes, and say how to act in it."""
