"""Learned simulators: the low-rank network, its fit, and simulators as environments."""

from persim_gym.learned.config import PRESETS, FitConfig
from persim_gym.learned.env import LearnedSimEnv
from persim_gym.learned.fitting import FitProgress
from persim_gym.learned.sb3 import to_sb3
from persim_gym.learned.simulator import PerSim

__all__ = ["PRESETS", "FitConfig", "FitProgress", "LearnedSimEnv", "PerSim", "to_sb3"]
