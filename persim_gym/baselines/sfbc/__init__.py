"""SfBC: a diffusion model of the behaviour, a critic on its samples, and a choice among them."""

from persim_gym.baselines.sfbc.config import SfBCConfig
from persim_gym.baselines.sfbc.policy import SfBC

__all__ = ["SfBC", "SfBCConfig"]
