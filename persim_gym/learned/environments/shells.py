"""`LearnedSimEnv`: a fitted simulator as a standard environment, scalar, vector and parallel.

The shells are those of the true environments; what is added here is what a learned model needs:
how its members are followed, a guard that ends an episode when the model is not to be trusted any
further, and a price for uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import one_of
from persim_gym.envs.env import SimEnv, plain_spec
from persim_gym.envs.lanes import time_limit
from persim_gym.envs.painter import CovariatesOf
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.starts import StartSampler
from persim_gym.envs.suites import SUITES
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.environments.guard import GuardedSimulator, Propagation
from persim_gym.learned.loading import as_dynamics
from persim_gym.learned.outcomes.given_reward import Reward, rewarded

STARTS = ("task", "data")


class LearnedSimEnv(SimEnv):
    """One agent's personalised simulator as a Gymnasium environment.

    ``info`` holds ``agent``, ``disagreement``, ``clipped`` (coordinates put back into the space),
    ``guard`` (the :class:`~persim_gym.envs.guard.Reason` of a truncation, false where there is
    none), ``outside`` (coordinates of the action outside of what was recorded of any agent),
    ``outside_own`` (of the agent itself), and with a penalty ``reward_raw`` and ``penalty``; at a
    reset the same, of nothing yet.
    The environment keeps its task's time limit itself.

    Args:
        simulator: A simulator, or the folder of one.
        agent: The agent to begin with, by index or by its name in the data, by default the first
            that something was recorded of; ``reset(options={"agent": k})`` switches.
        propagation: ``"mean"``, ``"random_member"``, ``"fixed_member"`` or ``"sample"``.
        guard: Truncate off the data's support or at high disagreement.
        penalty: Reward to subtract per unit of disagreement.
        strict: Refuse actions outside of what was recorded of any agent, with a ValueError.
        reward: Another reward than the task's: an expression over columns, or a function; see
            :meth:`PerSim.with_reward <persim_gym.learned.PerSim.with_reward>`.
        start: Start states of the ``"task"``, or recorded ones (``"data"``).
        render_mode: ``None``, ``"rgb_array"`` or ``"human"``.
        max_episode_steps: Time limit, by default the task's, and none with -1.
        covariates: Covariates for the drawing alone, by default the task's defaults: a simulator
            does not know them.

    Raises:
        FileNotFoundError: If there is no simulator there.
        TypeError: If an argument has the wrong type.
        ValueError: If the agent does not exist or an option is invalid.
    """

    def __init__(
        self,
        simulator: LearnedDynamics | str | Path,
        agent: int | str | None = None,
        *,
        propagation: Propagation = "mean",
        guard: bool = True,
        penalty: float = 0.0,
        strict: bool = False,
        reward: Reward | None = None,
        start: str = "task",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        covariates: Mapping[str, float] | None = None,
    ) -> None:
        sim = as_dynamics(simulator)
        self.simulator = sim
        super().__init__(
            rewarded(sim.task, reward),
            GuardedSimulator(sim, propagation, guard, penalty, strict),
            agent=_seen_agents(sim, 1)[0] if agent is None else agent,
            render_mode=render_mode,
            max_episode_steps=time_limit(sim.task, max_episode_steps),
            sample_start=_start_sampler(sim, start),
            covariates_of=_drawn_covariates(sim, covariates),
            label="learned",
        )

    #: Whether it was asked for without any time limit.
    unlimited = False

    @property
    def spec(self) -> Any:
        """As in every environment; it remembers that there is no time limit."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = plain_spec(spec, self.dynamics, self._lanes.max_episode_steps)
        if spec is not None and self.unlimited:
            spec.kwargs["max_episode_steps"] = -1


def vector_env(
    sim: LearnedDynamics,
    num_envs: int = 1,
    agents: int | str | Sequence[int | str] | None = None,
    *,
    propagation: Propagation = "mean",
    guard: bool = True,
    penalty: float = 0.0,
    strict: bool = False,
    reward: Reward | None = None,
    start: str = "task",
    covariates: Mapping[str, float] | None = None,
    agent: int | str | Sequence[int | str] | None = None,
    **shell: Any,
) -> SimVectorEnv:
    """Many lanes of simulators: options of :class:`LearnedSimEnv`, and of the vector shell.

    ``agent=`` and ``agents=`` are the same. By default the lanes are the agents that something was
    recorded of, in turn.
    """
    chosen = one_of(agent, agents)
    return SimVectorEnv(
        rewarded(sim.task, reward),
        GuardedSimulator(sim, propagation, guard, penalty, strict),
        num_envs,
        agents=_seen_agents(sim, num_envs) if chosen is None else chosen,
        sample_start=_start_sampler(sim, start),
        covariates_of=_drawn_covariates(sim, covariates),
        label="learned",
        **shell,
    )


def parallel_env(
    sim: LearnedDynamics,
    agents: Sequence[int | str],
    *,
    propagation: Propagation = "mean",
    guard: bool = True,
    penalty: float = 0.0,
    strict: bool = False,
    reward: Reward | None = None,
    start: str = "task",
    covariates: Mapping[str, float] | None = None,
    **shell: Any,
) -> SimParallelEnv:
    """Several simulators as a PettingZoo environment: options of :class:`LearnedSimEnv`."""
    return SimParallelEnv(
        rewarded(sim.task, reward),
        GuardedSimulator(sim, propagation, guard, penalty, strict),
        agents,
        sample_start=_start_sampler(sim, start),
        covariates_of=_drawn_covariates(sim, covariates),
        label="learned",
        **shell,
    )


def _seen_agents(sim: LearnedDynamics, n: int) -> NDArray[np.int64]:
    """Agents of ``n`` lanes that are not named: those that something was recorded of, in turn."""
    seen = sim.experience.seen
    known = np.arange(sim.num_agents) if seen is None else np.flatnonzero(seen)
    return known[np.arange(n) % len(known)]


def _start_sampler(sim: LearnedDynamics, start: str) -> StartSampler:
    if start == "task":
        return sim.task.sample_start
    if start == "data":
        return partial(_recorded_start, sim.experience.starts.astype(np.float64))
    hint = checks.meant(start, STARTS)
    raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}{hint}")


def _drawn_covariates(sim: LearnedDynamics, covariates: Mapping[str, float] | None) -> CovariatesOf:
    suite = SUITES.get(sim.task.name)
    defaults = suite.covariates.defaults if suite else {}
    if covariates is not None and not isinstance(covariates, Mapping):
        raise TypeError(f"covariates must be a mapping from names to numbers, got {covariates!r}")
    given = dict(covariates or {})
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"covariate {name!r} must be a finite number, got {value!r}")
    if suite and (unknown := set(given) - set(defaults)):
        raise ValueError(
            f"unknown covariate {sorted(unknown)[0]!r}"
            f"{checks.meant(sorted(unknown)[0], defaults)}: this task has {', '.join(defaults)}"
        )
    return partial(_same_for_all, {**defaults, **given})


# Functions of the module and not of a function, so that environments can be pickled.
def _recorded_start(
    recorded: NDArray[np.float64], rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    return recorded[rng.integers(0, len(recorded), size=n)]


def _same_for_all(covariates: Mapping[str, float], agent: int) -> Mapping[str, float]:
    return covariates
