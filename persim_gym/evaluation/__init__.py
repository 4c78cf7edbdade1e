"""How good a simulator is: open-loop error, returns, uncertainty, latent factors, adaptation.

``validation``, with a verdict in words, is a package of its own in here.
"""

from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.latent_factors import LatentProbe, probe_covariates
from persim_gym.evaluation.open_loop import OpenLoopError, evaluate, open_loop_error
from persim_gym.evaluation.references import Persistence, PooledModel, pooled
from persim_gym.evaluation.returns import episode_outcomes, episode_returns

__all__ = [
    "LatentProbe",
    "OpenLoopError",
    "Persistence",
    "PooledModel",
    "episode_outcomes",
    "episode_returns",
    "evaluate",
    "follow",
    "open_loop_error",
    "pooled",
    "probe_covariates",
]
