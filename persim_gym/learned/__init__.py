"""Learned simulators: families of models, the choice between them, environments of them."""

from typing import TYPE_CHECKING, Any

from persim_gym.learned.config import ClosedForm, Hierarchical, Latent, Networks
from persim_gym.learned.environments.shells import LearnedSimEnv
from persim_gym.learned.fitting.callbacks import FitCallback, LogMetrics
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.learned.presets import PRESETS
from persim_gym.learned.simulator import PerSim

if TYPE_CHECKING:
    from persim_gym.envs.sb3 import to_sb3


def __getattr__(name: str) -> Any:
    # Stable-Baselines3 takes longer to import than all the rest: only who uses it waits for it.
    if name == "to_sb3":
        from persim_gym.envs.sb3 import to_sb3

        return to_sb3
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "PRESETS",
    "ClosedForm",
    "DataTask",
    "FitCallback",
    "FitProgress",
    "Hierarchical",
    "Latent",
    "LearnedSimEnv",
    "LogMetrics",
    "Networks",
    "PerSim",
    "to_sb3",
]
