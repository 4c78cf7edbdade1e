"""Ensembles of all kinds, rows for them, and what they make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.networks.network import LowRankNetwork
from persim_gym.learned.stepping.lane_calls import WIDE
from persim_gym.learned.stepping.steps import CompiledSteps
from tests.learned.closed_form.polynomials import KINDS, some
from tests.learned.latent_ensembles import random_latents
from tests.learned.worlds import PlainTask, random_simulator

DISCRETE = PlainTask.of(3, actions=3, low=-1.0)


CONTINUOUS = PlainTask.of(3, action_dim=2, low=-1.0)


def network(task: PlainTask, hold: bool = False, relu: bool = False, **form: Any) -> Ensemble:
    ensemble = random_simulator(task, **form).ensemble
    assert isinstance(ensemble, NetworkEnsemble)
    scaling, net = ensemble.scaling, ensemble.network
    if hold:
        held = torch.full_like(scaling.input_mean, 0.4)
        scaling = replace(scaling, hold_low=-held, hold_high=held)
    if relu:
        net = LowRankNetwork(replace(net.shape, activation="relu"), net.tensors)
    return NetworkEnsemble(net, scaling, ensemble.effects)


ENSEMBLES: dict[str, Ensemble] = {
    **{f"polynomial {kind}": some(**kind) for kind in KINDS},
    "network": network(DISCRETE),
    "network, two actions": network(PlainTask.of(3, actions=2, low=-1.0)),
    "network, one action": network(PlainTask.of(3, actions=1, low=-1.0)),
    "network, continuous": network(CONTINUOUS, hidden=(8, 6)),
    "network, lag, angles": network(DISCRETE, lag=2, angles=(1,)),
    "network, joint, skip": network(CONTINUOUS, joint=True, skip=True, hidden=(8, 6)),
    "network, held, relu": network(DISCRETE, hold=True, relu=True, hidden=(8, 6)),
    "network, wide": network(DISCRETE, hidden=(WIDE + 1, 8)),
    "network, wide, joint": network(CONTINUOUS, hidden=(WIDE + 1,), joint=True),
    "network, joint, all": network(CONTINUOUS, joint=True, skip=True, angles=(0, 2), hold=True),
    "latent": random_latents(),
    "latent, mixed": random_latents(mixed=True, hidden=(8, 8, 8)),
    "latent, no gates": random_latents(gates=0, hidden=(8,)),
    "latent, angles": random_latents(angles=(1,), left_out=(0, 4)),
    "latent, continuous": random_latents(choices=0, action_dim=2, hold=9.0),
    "latent, actions beyond": random_latents(choices=0, action_dim=2, hold=0.6, angles=(0, 2)),
}


def rows(ensemble: Ensemble, n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Agents ``[n]``, states ``[n, in]`` also where inputs are held, actions."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n, ensemble.obs_dim * ensemble.lag)).astype(np.float32)
    states[::5] *= 4
    if isinstance(ensemble, NetworkEnsemble):
        choices = ensemble.network.shape.num_actions
    elif isinstance(ensemble, FrameEnsemble):
        choices = ensemble.frame.choices
    else:
        choices = 3 * ensemble.discrete  # type: ignore[attr-defined]
    actions = rng.integers(choices, size=n) if choices else rng.uniform(-1, 1, (n, 2))
    return rng.integers(ensemble.num_agents, size=n), states.astype(np.float64), actions


def expected(ensemble: Ensemble, agents: Any, states: Any, actions: Any) -> Any:
    kind = torch.float64 if isinstance(ensemble, PolynomialEnsemble) else torch.float32
    acted = torch.as_tensor(actions)
    if acted.is_floating_point():
        acted = acted.to(kind)
    parts = torch.as_tensor(agents), torch.as_tensor(states).to(kind), acted
    return before_bounds(ensemble, *parts).double().numpy()


def following(compiled: CompiledSteps, agents: Any, states: Any, actions: Any) -> Any:
    """Every member's next observations ``[m, n, d]``."""
    mean, contrasts = compiled.change(agents, states.T, actions)
    assert mean.shape[1] == contrasts.shape[1] == len(agents)
    members = states[:, -len(mean) :].T + mean + compiled.axes @ contrasts
    return members.swapaxes(1, 2)
