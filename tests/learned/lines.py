"""A world whose members add what they are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.learned.networks.ensemble import NetworkEnsemble, Scaling
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.learned.simulator import PerSim
from persim_gym.learned.support import Experience


@dataclass(frozen=True)
class LineTask:
    """A point on a line from -100 to 100: reward is where it is; it ends below -50."""

    name: str = "line"
    observation_space: Box = field(default_factory=lambda: Box(-100, 100, (1,), dtype=np.float32))
    action_space: Discrete = field(default_factory=lambda: Discrete(2))
    max_episode_steps: int = 30
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        """The position."""
        return next_obs[..., 0]

    def terminated(self, next_obs: Any) -> Any:
        """Far to the left."""
        return next_obs[..., 0] < -50

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """At zero."""
        return np.zeros((n, 1))


#: What `info` holds of an action that is within the record.
NONE = {"outside": 0, "outside_own": 0}


def constant_simulator(
    *increments: float,
    low: float = -1000.0,
    high: float = 1000.0,
    change_scale: float = 1.0,
    disagreement_limit: float = math.inf,
    starts: tuple[float, ...] = (5.0, 7.0, 9.0),
    momentum: bool = False,
    bound: float = 100.0,
) -> PerSim:
    """Simulators whose member ``j`` adds ``increments[j]``, whatever state and action.

    With ``momentum`` a state is two observations, and the last change happens again on top.
    """
    shape = NetworkShape(
        members=len(increments),
        num_agents=3,
        obs_dim=1,
        lag=2 if momentum else 1,
        num_actions=2,
        action_dim=0,
        rank=1,
        state_hidden=(2,),
        action_hidden=(),
        activation="relu",
    )
    tensors = {name: torch.zeros(size) for name, (size, _) in shape.tensors().items()}
    for name in ("agent.bias", "action.bias"):
        tensors[name] += 1
    tensors["head.bias"][:, 0, 0] = torch.tensor(increments)
    if momentum:  # the change's positive part less its negative part
        tensors["state.0.weight"][:] = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
        tensors["head.weight"][:] = torch.tensor([[1.0, -1.0]])
    scaling = Scaling(
        input_mean=torch.zeros(shape.input_dim),
        input_scale=torch.ones(shape.input_dim),
        target_mean=torch.zeros(1),
        target_scale=torch.ones(1),
        low=torch.tensor([-bound]),
        high=torch.tensor([bound]),
    )
    experience = Experience(
        low=np.array([low], dtype=np.float32),
        high=np.array([high], dtype=np.float32),
        change_scale=np.array([change_scale], dtype=np.float32),
        starts=np.array(starts, dtype=np.float32)[:, None],
        disagreement_limit=disagreement_limit,
    )
    ensemble = NetworkEnsemble(LowRankNetwork(shape, tensors), scaling)
    return PerSim(ensemble, LineTask(), experience, {"task": "line"})


def positions(env: gym.Env[Any, Any], steps: int, **reset: Any) -> list[float]:
    """Where an episode begins, and where it is after each of its steps."""
    seen = [env.reset(**reset)[0].item()]
    seen += [env.step(0)[0].item() for _ in range(steps)]
    return seen
