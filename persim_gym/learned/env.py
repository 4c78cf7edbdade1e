"""`LearnedSimEnv`: a fitted simulator as a standard environment, scalar, vector and parallel.

The shells are those of the true environments; what is added here is what a learned model needs:
how its members are followed, a guard that ends an episode when the model is not to be trusted any
further, and a price for uncertainty.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import one_of
from persim_gym.envs.env import CovariatesOf, SimEnv, drawn, plain_spec
from persim_gym.envs.lanes import StartSampler, time_limit
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.suites import SUITES, single_agent
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned.guard import GuardedSimulator, Propagation
from persim_gym.learned.simulator import PerSim

STARTS = ("task", "data")


class LearnedSimEnv(SimEnv):
    """One agent's personalised simulator as a Gymnasium environment.

    ``info`` holds ``agent``, ``disagreement``, ``clipped`` (coordinates put back into the space),
    ``guard`` (the :class:`~persim_gym.envs.guard.Reason` of a truncation, false where there is
    none), and with a penalty ``reward_raw`` and ``penalty``; at a reset the same, of nothing yet.
    The environment keeps its task's time limit itself.

    Args:
        simulator: A :class:`PerSim` or the folder of one.
        agent: The agent to begin with, by index or by its name in the data, by default the first
            that something was recorded of; ``reset(options={"agent": k})`` switches.
        propagation: ``"mean"``, ``"random_member"``, ``"fixed_member"`` or ``"sample"``.
        guard: Truncate off the data's support or at high disagreement.
        penalty: Reward to subtract per unit of disagreement.
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
        simulator: PerSim | str | Path,
        agent: int | str | None = None,
        *,
        propagation: Propagation = "mean",
        guard: bool = True,
        penalty: float = 0.0,
        start: str = "task",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        covariates: Mapping[str, float] | None = None,
    ) -> None:
        sim = as_simulator(simulator)
        self.simulator = sim
        super().__init__(
            sim.task,
            GuardedSimulator(sim, propagation, guard, penalty),
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


@drawn
def make_env(
    simulator: PerSim | str | Path,
    agent: int | str | None = None,
    *,
    agents: int | str | Sequence[int | str] | None = None,
    max_episode_steps: int | None = None,
    **options: Any,
) -> LearnedSimEnv:
    """Entry point of ``gym.make("PerSim-Learned-v0", simulator=..., agent=...)``.

    Args:
        simulator: As for :class:`LearnedSimEnv`.
        agent: As for :class:`LearnedSimEnv`.
        agents: The same as ``agent``, the word of the vector environment.
        max_episode_steps: As for :class:`LearnedSimEnv`. ``gym.make`` keeps this argument to
            itself: where it is given there, that limit holds and no other.
        **options: Of :class:`LearnedSimEnv`.
    """
    asked = _asked_of_make()
    limit = max_episode_steps if asked is None else -1
    env = LearnedSimEnv(simulator, single_agent(agent, agents), max_episode_steps=limit, **options)
    env.unlimited = (limit if asked is None else asked) == -1
    return env


def _asked_of_make() -> int | None:
    """The time limit that ``gym.make`` was asked for, ``None`` for none.

    Gymnasium keeps ``max_episode_steps`` from an environment and wraps it in a limit of its own. An
    environment whose limit its simulator decides cannot do without knowing: the shorter of the two
    would hold. The caller is therefore asked. Where it is not Gymnasium, nothing was asked for.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not gym.make.__code__:
        frame = frame.f_back
    asked: int | None = None
    if frame is not None:
        asked = frame.f_locals.get("max_episode_steps")
        if asked is None:
            asked = getattr(frame.f_locals.get("env_spec"), "max_episode_steps", None)
    return asked


def make_vector_env(
    simulator: PerSim | str | Path,
    num_envs: int = 1,
    agents: int | str | Sequence[int | str] | None = None,
    *,
    propagation: Propagation = "mean",
    guard: bool = True,
    penalty: float = 0.0,
    start: str = "task",
    covariates: Mapping[str, float] | None = None,
    agent: int | str | Sequence[int | str] | None = None,
    **shell: Any,
) -> SimVectorEnv:
    """Vector entry point: options of :class:`LearnedSimEnv`, and of the vector shell.

    ``agent=`` and ``agents=`` are the same. By default the lanes are the agents that something was
    recorded of, in turn.
    """
    sim = as_simulator(simulator)
    chosen = one_of(agent, agents)
    return SimVectorEnv(
        sim.task,
        GuardedSimulator(sim, propagation, guard, penalty),
        num_envs,
        agents=_seen_agents(sim, num_envs) if chosen is None else chosen,
        sample_start=_start_sampler(sim, start),
        covariates_of=_drawn_covariates(sim, covariates),
        label="learned",
        **shell,
    )


def make_parallel_env(
    simulator: PerSim | str | Path,
    agents: Sequence[int | str],
    *,
    propagation: Propagation = "mean",
    guard: bool = True,
    penalty: float = 0.0,
    start: str = "task",
    covariates: Mapping[str, float] | None = None,
    **shell: Any,
) -> SimParallelEnv:
    """Several simulators as a PettingZoo environment: options of :class:`LearnedSimEnv`."""
    sim = as_simulator(simulator)
    return SimParallelEnv(
        sim.task,
        GuardedSimulator(sim, propagation, guard, penalty),
        agents,
        sample_start=_start_sampler(sim, start),
        covariates_of=_drawn_covariates(sim, covariates),
        label="learned",
        **shell,
    )


def as_simulator(simulator: PerSim | str | Path) -> PerSim:
    """A simulator, or a view of the one in a folder.

    Each file is read once as long as it is unchanged. What is done to the view, such as
    :meth:`PerSim.adapt`, the next one of the same folder knows nothing of.
    """
    if isinstance(simulator, PerSim):
        return simulator
    if not isinstance(simulator, (str, Path)):
        raise TypeError(f"simulator must be a PerSim or the folder of one, got {simulator!r}")
    from persim_gym import store

    path = checks.as_path("simulator", simulator)
    file = path if path.suffix == ".safetensors" else path / store.SIMULATOR
    stamp = file.stat().st_mtime_ns if file.exists() else 0
    return _load(str(path.resolve()), stamp).view()


@lru_cache(maxsize=8)
def _load(path: str, stamp: int) -> PerSim:
    return PerSim.load(path)


def _seen_agents(sim: PerSim, n: int) -> NDArray[np.int64]:
    """Agents of ``n`` lanes that are not named: those that something was recorded of, in turn."""
    seen = sim.experience.seen
    known = np.arange(sim.num_agents) if seen is None else np.flatnonzero(seen)
    return known[np.arange(n) % len(known)]


def _start_sampler(sim: PerSim, start: str) -> StartSampler:
    if start == "task":
        return sim.task.sample_start
    if start == "data":
        return partial(_recorded_start, sim.experience.starts.astype(np.float64))
    raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")


def _drawn_covariates(sim: PerSim, covariates: Mapping[str, float] | None) -> CovariatesOf:
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
            f"unknown covariate {sorted(unknown)[0]!r}: this task has {', '.join(defaults)}"
        )
    return partial(_same_for_all, {**defaults, **given})


# Functions of the module and not of a function, so that environments can be pickled.
def _recorded_start(
    recorded: NDArray[np.float64], rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    return recorded[rng.integers(0, len(recorded), size=n)]


def _same_for_all(covariates: Mapping[str, float], agent: int) -> Mapping[str, float]:
    return covariates
