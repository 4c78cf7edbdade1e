"""Entry points of `gym.make`: learned environments of a simulator or of the folder of one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from persim_gym import checks
from persim_gym.envs.env import drawn
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.suites import single_agent
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned.environments import shells
from persim_gym.learned.environments.shells import LearnedSimEnv
from persim_gym.learned.loading import parts_in
from persim_gym.learned.simulator import PerSim


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
    env = LearnedSimEnv(
        as_simulator(simulator), single_agent(agent, agents), max_episode_steps=limit, **options
    )
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
    **options: Any,
) -> SimVectorEnv:
    """Vector entry point: options of :class:`LearnedSimEnv`, and of the vector shell."""
    return shells.vector_env(as_simulator(simulator), num_envs, agents, **options)


def make_parallel_env(
    simulator: PerSim | str | Path, agents: Sequence[int | str], **options: Any
) -> SimParallelEnv:
    """Several simulators as a PettingZoo environment: options of :class:`LearnedSimEnv`."""
    return shells.parallel_env(as_simulator(simulator), agents, **options)


def as_simulator(simulator: PerSim | str | Path) -> PerSim:
    """A simulator, or a view of the one in a folder.

    Each file is read once as long as it is unchanged. What is done to the view, such as
    :meth:`PerSim.adapt`, the next one of the same folder knows nothing of.
    """
    if isinstance(simulator, PerSim):
        return simulator
    return PerSim.of(parts_in(simulator), checks.as_path("simulator", simulator).resolve())
