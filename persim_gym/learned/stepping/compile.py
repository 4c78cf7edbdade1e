"""Ensembles made ready for stepping, each in the way of its family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.stepping.latent import CompiledLatent, compilable
from persim_gym.learned.stepping.network import CompiledNetwork
from persim_gym.learned.stepping.polynomial import CompiledPolynomial
from persim_gym.learned.stepping.steps import CompiledSteps


def compile_ensemble(
    ensemble: Ensemble, unit: NDArray[np.float64], before: CompiledSteps | None = None
) -> CompiledSteps | None:
    """An ensemble made ready for stepping, or ``None`` where that brings nothing.

    Args:
        ensemble: The members.
        unit: Unit of disagreement ``[d]``.
        before: What was made of the same model for other factors: what is the same is kept.
    """
    if ensemble.device.type != "cpu" or ensemble.past:
        return None
    if isinstance(ensemble, PolynomialEnsemble):
        if isinstance(before, CompiledPolynomial) and before.made_of(ensemble):
            return before.with_factors(ensemble)
        return CompiledPolynomial(ensemble, unit)
    if isinstance(ensemble, NetworkEnsemble):
        return CompiledNetwork(ensemble, unit)
    if isinstance(ensemble, FrameEnsemble) and compilable(ensemble):
        return CompiledLatent(ensemble, unit)
    return None


def settle(
    obs: NDArray[np.float64],
    ensemble: Ensemble,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What :meth:`Ensemble.settle` makes of predictions ``[m, d, k]``, in bounds ``[d, 1]``."""
    finite = obs - obs
    if ensemble.effects is not None:
        effects = ensemble.effects.effect.double().numpy()[..., None]  # [e, 3, d, 1]
        for (column, side, bound), effect in zip(ensemble.effects.edges(), effects, strict=True):
            over = side * (obs[:, column : column + 1] - bound)
            if (over > 0).any():
                constant, share, slope = effect
                obs = np.where(over > 0, constant + share * obs + slope * over, obs)
    settled: NDArray[np.float64] = np.minimum(np.maximum(obs, low), high) + finite
    return settled
