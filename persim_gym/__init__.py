"""Personalised simulators for every agent from one recorded trajectory each (PerSim).

Importing the package registers its environments with Gymnasium and nothing more: torch, mujoco
and pygame are loaded by the parts that need them.
"""

from __future__ import annotations

from persim_gym import interrupts

interrupts.leave_at_once("nothing was begun")  # before what takes long to import

from collections.abc import Sequence  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from gymnasium.envs.registration import register  # noqa: E402

if TYPE_CHECKING:
    from persim_gym.envs.parallel import SimParallelEnv

__version__ = "0.1.0"

#: The id by which Gymnasium knows learned environments.
LEARNED_ID = "PerSim-Learned-v0"

# The registration table: id, task, time limit.
_TRUE_ENVS = (
    ("PerSim-MountainCar-v0", "mountain-car", 500),
    ("PerSim-CartPole-v0", "cartpole", 200),
    ("PerSim-HalfCheetah-v0", "half-cheetah", 1000),
)

for _id, _task, _steps in _TRUE_ENVS:
    register(
        id=_id,
        entry_point="persim_gym.envs.suites:make_env",
        vector_entry_point="persim_gym.envs.suites:make_vector_env",
        max_episode_steps=_steps,
        kwargs={"task": _task},
    )
# The time limit of a learned environment is its task's; the environment keeps it itself.
register(
    id=LEARNED_ID,
    entry_point="persim_gym.learned.env:make_env",
    vector_entry_point="persim_gym.learned.env:make_vector_env",
)


def parallel_env(env_id: str, agents: Sequence[int], **kwargs: Any) -> SimParallelEnv:
    """Several agents as a PettingZoo ``ParallelEnv``, true or learned.

    Args:
        env_id: A registered id of this package; ``"PerSim-Learned-v0"`` takes ``simulator=``.
        agents: Indices of different agents of the population.
        **kwargs: ``population``, ``max_episode_steps`` and ``render_mode``, or what the learned
            environment takes.

    Raises:
        ValueError: If the id or an agent does not exist.
    """
    if env_id == LEARNED_ID:
        from persim_gym.learned.env import make_parallel_env as make_learned

        return make_learned(agents=agents, **kwargs)
    from persim_gym.envs.suites import make_parallel_env

    return make_parallel_env(env_id, agents, **kwargs)


__all__ = ["LEARNED_ID", "__version__", "parallel_env"]
