"""Small worlds with known answers, as the arrays that a latent network is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.config import Latent
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.feature_map import FeatureMap
from persim_gym.learned.latent.network import LatentNetwork

Array = NDArray[np.float64]
Rule = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Arrays of a world, and the units they are in."""

    data: LatentData
    frame: FeatureMap
    mean: Array
    scale: Array
    change_scale: Array

    def features(self, states: Array, actions: Array) -> Array:
        """States and actions ``[n]`` as features ``[n, 2]``."""
        return (np.stack([states, actions], axis=1) - self.mean) / self.scale


def kink(states: Array, actions: Array, where: Array) -> Array:
    """A drift that sets in above a threshold of each agent's own."""
    return 0.1 * (actions - 3.0 * np.maximum(0.0, states - where))


def bounce(states: Array, actions: Array, rebound: Array) -> Array:
    """A fall, or a leap of each agent's own from where the ground would be touched."""
    after = states + 0.1 * actions
    return np.where(after < 0.0, -(1.0 + rebound) * after, 0.1 * actions)


def relax(states: Array, actions: Array, rate: Array) -> Array:
    """A decay at a rate of each agent's own."""
    return 0.2 * (actions - rate * states)


def record(
    rule: Rule,
    covariates: Array,
    steps: int,
    seed: int,
    *,
    noise: float = 0.0,
    scattered: bool = False,
) -> Recorded:
    """One trajectory of each agent.

    Args:
        rule: States, actions and covariates ``[N]`` to changes.
        covariates: ``[N]``.
        steps: Transitions of each agent.
        seed: Of everything.
        noise: Of observations, in units of the states' deviation.
        scattered: Each transition begins anywhere in [-1, 1], and is an episode of its own.
    """
    rng = np.random.default_rng(seed)
    n = len(covariates)
    states = np.empty((n, steps + 1))
    states[:, 0] = rng.uniform(-1, 1, n)
    actions = rng.uniform(-1, 1, (n, steps))
    for t in range(1, steps):
        same = rng.random(n) < 0.8
        actions[same, t] = actions[same, t - 1]
    for t in range(steps):
        states[:, t + 1] = states[:, t] + rule(states[:, t], actions[:, t], covariates)
    states += noise * states.std() * rng.standard_normal(states.shape)
    before, after = states[:, :-1], states[:, 1:]
    if scattered:
        before = rng.uniform(-1, 1, before.shape)
        after = before + rule(before, actions, covariates[:, None])
    raw = np.stack([before.reshape(-1), actions.reshape(-1)], axis=1)
    changes = (after - before).reshape(-1, 1)
    mean, scale, unit = raw.mean(0), raw.std(0), changes.std(0)
    agents = np.repeat(np.arange(n), steps)
    episodes = np.arange(len(raw)) if scattered else agents
    data = LatentData((raw - mean) / scale, changes / unit, agents, episodes, n)
    frame = FeatureMap(2, [0], [0], [float(unit[0] / scale[0])])
    return Recorded(data, frame, mean, scale, unit)


QUICK = Latent(ensemble_size=2, latent=2, hidden=(16, 16), batch_size=128, first_steps=300, steps=0)


THRESHOLDS = np.linspace(-0.8, 0.8, 16)


def error(network: LatentNetwork, recorded: Recorded, rule: object, covariates: object) -> float:
    """Error of one step on fresh states and actions, as a share of the change's deviation."""
    rng = np.random.default_rng(99)
    agents = rng.integers(0, network.num_agents, 2000)
    states, actions = rng.uniform(-1, 1, 2000), rng.uniform(-1, 1, 2000)
    features = torch.tensor(recorded.features(states, actions), dtype=torch.float32)
    found = network.change(torch.as_tensor(agents), features).mean(0)[:, 0].numpy()
    truth = rule(states, actions, np.asarray(covariates)[agents]) / recorded.change_scale[0]  # type: ignore[operator]
    return float(np.sqrt(((found - truth) ** 2).mean()))
