"""What there is to say about a task: each task's own file fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.envs.populations import CovariateTable, Population

#: Observations ``[n, d]``, steps since the start ``[n]``, styles in [0, 1) ``[n, 2]`` -> actions.
Rule = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Controller:
    """A fixed rule of observation, time and an episode's style that acts without any training.

    Attributes:
        name: A name for data sets, such as ``"bang-bang"``.
        description: What it does, for prose.
        rule: The rule.
    """

    name: str
    description: str
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is fixed of a family of environments.

    Attributes:
        name: Name on the command line, such as ``"cartpole"``.
        env_id: Registered id, such as ``"PerSim-CartPole-v0"``.
        title: Name in figures and prose, such as ``"CartPole"``.
        noun: What its agents are, in the plural.
        covariates: The covariates by which its agents differ, and the test agents.
        task: Makes the task.
        dynamics: Makes the true dynamics of a population.
        controller: Acts without training.
        coordinates: Names of the observation's coordinates, with units.
        ranges: Ends between which states are counted in data cards, the same for all data sets of
            the task, so that their counts can be compared.
        planes: Pairs of coordinates over which states are counted.
        end: Why an episode has ended in a terminal observation ``[d]``, in words.
        headline: Index of the coordinate whose error stands where there is room for one alone.
        libraries: Further libraries whose version decides what a step gives.
        microseconds: Of a step of a recorded episode, roughly: physics and writing, and what a
            trained policy adds.
    """

    name: str
    env_id: str
    title: str
    noun: str
    covariates: CovariateTable
    task: Callable[[], Task]
    dynamics: Callable[[Population], Dynamics]
    controller: Controller
    coordinates: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    planes: tuple[tuple[int, int], ...]
    microseconds: tuple[float, float]
    end: Callable[[NDArray[Any]], str] = lambda obs: "terminated"
    headline: int = 0
    libraries: tuple[str, ...] = ()

    def population(self, source: object = None) -> Population:
        """The population that ``population=`` describes; see :meth:`Population.make`."""
        return Population.make(self.covariates, source)
