"""What a simulator knows of its own errors: noise of both kinds, and predictive intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.comparison.holdout import Record
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import coded, moved
from persim_gym.learned.uncertainty.calibrate import calibrate
from persim_gym.learned.uncertainty.fading import Fading, learn_fading
from persim_gym.learned.uncertainty.intervals import Intervals, Unseen
from persim_gym.learned.uncertainty.noise import Floats, Noise, estimate_noise


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Noise and intervals of a simulator.

    Attributes:
        noise: Noise of the process and of observations.
        intervals: Of predictions.
        fading: How predictions fade; ``None`` where they do not, and in files of older versions.
    """

    noise: Noise
    intervals: Intervals
    fading: Fading | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        fading = {} if self.fading is None else self.fading.tensors()
        return {**self.noise.tensors(), **self.intervals.tensors(), **fading}

    @classmethod
    def from_file(cls, parts: Mapping[str, Mapping[str, Tensor]]) -> Uncertainty | None:
        """What :meth:`tensors` has given, by part and name; ``None`` of older files.

        Raises:
            TypeError: If a tensor is missing or unknown.
        """
        if not parts["noise"] and not parts["intervals"]:
            return None
        noise = Noise.from_tensors(parts["noise"])
        fading = Fading.from_tensors(parts["fading"]) if parts["fading"] else None
        return cls(noise, Intervals.from_tensors(parts["intervals"]), fading)


def learn_uncertainty(
    ensemble: Ensemble,
    data: Data,
    record: Record,
    unseen: Unseen | None,
    seed: int,
    far: Unseen | None = None,
) -> Uncertainty | None:
    """Learn it of a fitted ensemble.

    Args:
        ensemble: The members, fitted on all data.
        data: The data.
        record: The same as predictions are compared on.
        unseen: A like fit that a part of the data was kept from.
        seed: Of what is chosen by chance.
        far: One that the longest stretches were kept from, which say how predictions fade;
            by default ``unseen``.

    Returns:
        ``None`` where no transition serves.
    """
    nothing = np.zeros(ensemble.obs_dim)
    held, fading = far or unseen, None
    if held is not None:
        fading = learn_fading(held.ensemble, record, held.rows, data.geometry.turning)
    calibrated = calibrate(ensemble, record, unseen, nothing, seed, fading)
    if calibrated is None:
        return None
    intervals, optimism = calibrated
    noise = estimate_noise(ensemble, data, seed, float(np.median(optimism)))
    if noise is None:
        return None
    observed = _of_coordinates(ensemble, noise, data, seed)
    return Uncertainty(noise, replace(intervals, observed=observed), fading)


def _of_coordinates(ensemble: Ensemble, noise: Noise, data: Data, seed: int) -> Floats:
    """Variances of the observations' noise in the data's own coordinates ``[d]``."""
    if not ensemble.turning:
        return noise.observation.copy()
    rng = np.random.default_rng([seed, 23])
    rows = rng.integers(0, len(data.transitions), 2000)
    obs = torch.as_tensor(data.transitions.obs[rows], device=ensemble.device)
    drawn = rng.standard_normal((len(obs), len(noise.observation))) * np.sqrt(noise.observation)
    seen = ensemble.following(obs, torch.as_tensor(drawn).to(obs))
    away = (seen - obs).double().cpu().numpy()
    # The middle ones: an angle that was wrapped is a turn away.
    return np.asarray(np.square(np.quantile(np.abs(away), 0.683, axis=0)))


def disturb(
    ensemble: Ensemble,
    noise: Noise,
    agents: NDArray[np.int64],
    states: Tensor,
    obs: Tensor,
    rng: np.random.Generator,
    alike: int = 1,
) -> Tensor:
    """Predicted observations with noise of the process, inside the observation space.

    Args:
        ensemble: Whose predictions they are.
        noise: The noise.
        agents: ``[n]``.
        states: States before the step ``[..., n, l * w]``.
        obs: Predicted observations ``[..., n, d]``.
        rng: Randomness.
        alike: Neighbouring rows to which the same happens.

    Returns:
        ``[..., n, d]``.
    """
    change = ensemble.difference(states, obs)
    plain = change.double().cpu().numpy()
    after = np.zeros_like(plain) if ensemble.turning else obs.double().cpu().numpy()
    *lead, n, c = plain.shape
    normal = rng.standard_normal((*lead, n // alike, c)).repeat(alike, axis=-2)
    drawn = noise.shaped(normal, agents, plain, after)
    seen = ensemble.following(states, change + torch.as_tensor(drawn).to(change))
    low, high = (bound.to(seen) for bound in ensemble.limits)
    return torch.clamp(seen, low, high) + (obs - obs)


@torch.no_grad()
def sampled_rollout(
    ensemble: Ensemble,
    noise: Noise,
    agents: Tensor,
    states: Tensor,
    actions: Tensor,
    rng: np.random.Generator,
    alike: int = 1,
) -> Tensor:
    """Open-loop predictions with noise of the process, each member from its own states.

    Args:
        ensemble: The members.
        noise: The noise.
        agents: ``[n]``.
        states: ``[n, l * w]``.
        actions: ``[n, h]`` integers or ``[n, h, a]``.
        rng: Randomness.
        alike: Neighbouring rows to which the same happens.

    Returns:
        ``[m, n, h, d]``.
    """
    m, n = ensemble.members, len(states)
    choices = 0 if actions.is_floating_point() else ensemble.past + 1
    own = states.expand(m, n, -1)
    numbers = agents.cpu().numpy()
    steps = []
    for t in range(actions.shape[1]):
        obs = ensemble.step(agents, own, actions[:, t])
        obs = disturb(ensemble, noise, numbers, own, obs, rng, alike)
        steps.append(obs)
        if ensemble.lag == 1:
            own = obs
            continue
        before = coded(actions[:, t], choices)[:, : ensemble.past].expand(m, n, -1)
        slots = own.unflatten(-1, (ensemble.lag, -1)).flatten(0, 1)
        following = moved(slots, before.flatten(0, 1), obs.flatten(0, 1))
        own = following.flatten(1).unflatten(0, (m, n))
    return torch.stack(steps, dim=2)
