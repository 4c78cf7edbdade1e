"""How good a simulator is: open-loop error, returns, uncertainty, latent factors, adaptation."""

from persim_gym.evaluation.latent_factors import LatentProbe, probe_covariates
from persim_gym.evaluation.open_loop import (
    OneForAll,
    OpenLoopError,
    Persistence,
    evaluate,
    follow,
    open_loop_error,
    pooled,
)

__all__ = [
    "LatentProbe",
    "OneForAll",
    "OpenLoopError",
    "Persistence",
    "evaluate",
    "follow",
    "open_loop_error",
    "pooled",
    "probe_covariates",
]
