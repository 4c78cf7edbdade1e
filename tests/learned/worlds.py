"""Worlds whose dynamics are known, and simulators that need no fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.learned import PerSim
from persim_gym.learned.networks.ensemble import NetworkEnsemble, Scaling
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.learned.support import Experience
from persim_gym.offline.transitions import Transitions


def _box(low: float, high: float, d: int) -> Box:
    return Box(low, high, shape=(d,), dtype=np.float32)


@dataclass(frozen=True)
class PlainTask:
    """A task of any size: the reward is minus the squared distance to the origin, nothing ends."""

    name: str = "plain"
    observation_space: Box = field(default_factory=lambda: _box(-math.inf, math.inf, 2))
    action_space: Discrete | Box = field(default_factory=lambda: Discrete(5))
    max_episode_steps: int = 20
    render_fps: int = 10
    root_velocity: None = None

    @classmethod
    def of(cls, d: int, actions: int = 0, action_dim: int = 0, low: float = -math.inf) -> PlainTask:
        """``d`` coordinates from ``low`` to minus ``low``, discrete or continuous actions."""
        space = Discrete(actions) if actions else _box(-1.0, 1.0, action_dim)
        return cls(observation_space=_box(low, -low, d), action_space=space)

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return -(next_obs * next_obs).sum(-1)

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] > 1e30

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return rng.uniform(-1.0, 1.0, size=(n, self.observation_space.shape[0]))


class RankTwoWorld:
    """``delta = u_1(agent) f_1(action) g_1(state) + u_2(agent) f_2(action) g_2(state)``.

    Two coordinates; ``g`` is smooth and known. Factors are drawn once.
    """

    lag = 1
    actions = 5

    def __init__(self, agents: int = 40, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.num_agents = agents
        self.u = rng.normal(size=(agents, 2))
        self.f = rng.normal(size=(self.actions, 2))

    def change(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        """The exact change of state ``[n, 2]``."""
        x, y = np.asarray(states, dtype=np.float64).T
        g = np.stack(
            [
                np.stack([np.tanh(x + y), np.sin(y)]),
                np.stack([np.cos(x), np.tanh(y - x)]),
            ]
        )  # [r, d, n]
        return np.einsum("nr,nr,rdn->nd", self.u[agents], self.f[actions], g)

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        return states + self.change(agents, states, actions)

    def record(
        self,
        per_agent: int,
        seed: int = 1,
        noise: float = 0.0,
        pairs: NDArray[np.bool_] | None = None,
    ) -> Transitions:
        """Transitions in states uniform on [-1, 1], with actions from the allowed ``pairs``."""
        rng = np.random.default_rng(seed)
        agents = np.repeat(np.arange(self.num_agents), per_agent)
        states = rng.uniform(-1, 1, size=(len(agents), 2)).astype(np.float32)
        weights = np.ones((self.num_agents, self.actions)) if pairs is None else pairs
        share = np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)
        actions = (rng.random(len(agents))[:, None] >= share[agents]).sum(1)
        actions = np.minimum(actions, self.actions - 1)
        following = self.step(agents, states, actions) + noise * rng.normal(size=states.shape)
        return transitions(agents, states, actions, following, num_agents=self.num_agents)


def transitions(
    agents: Any,
    obs: Any,
    actions: Any,
    next_obs: Any,
    *,
    num_agents: int | None = None,
    episode: Any = None,
    task_name: str = "plain",
) -> Transitions:
    """Transitions from arrays; by default an agent's rows are one episode."""
    agents = np.asarray(agents, dtype=np.int64)
    n = len(agents)
    actions = np.asarray(actions)
    discrete = actions.ndim == 1
    return Transitions(
        agent=agents,
        obs=np.asarray(obs, dtype=np.float32),
        action=actions.astype(np.int64 if discrete else np.float32),
        next_obs=np.asarray(next_obs, dtype=np.float32),
        reward=np.zeros(n),
        terminated=np.zeros(n, dtype=np.bool_),
        truncated=np.zeros(n, dtype=np.bool_),
        episode=agents.copy() if episode is None else np.asarray(episode, dtype=np.int64),
        num_agents=int(agents.max()) + 1 if num_agents is None else num_agents,
        task_name=task_name,
        dataset_id="test/plain",
    )


def random_walks(
    task: Task, agents: int = 4, steps: int = 25, seed: int = 0, scale: float = 0.1
) -> Transitions:
    """A trajectory an agent of a noisy walk that hears the action; kept inside the task's space."""
    rng = np.random.default_rng(seed)
    space = task.action_space
    d = task.observation_space.shape[0]
    n = agents * steps
    if isinstance(space, Discrete):
        actions: NDArray[Any] = rng.integers(space.n, size=n)
        push = actions - (space.n - 1) / 2
    else:
        actions = rng.uniform(space.low, space.high, (n, *space.shape)).astype(np.float32)
        push = actions.sum(1)
    change = scale * (push[:, None] + 0.3 * rng.normal(size=(n, d)))
    walk = np.zeros((agents, steps + 1, d))
    walk[:, 0] = rng.uniform(-0.5, 0.5, size=(agents, d))
    for t in range(steps):
        following = walk[:, t] + change.reshape(agents, steps, d)[:, t]
        walk[:, t + 1] = np.clip(following, task.observation_space.low, task.observation_space.high)
    return transitions(
        np.repeat(np.arange(agents), steps),
        walk[:, :-1].reshape(n, d),
        actions,
        walk[:, 1:].reshape(n, d),
        task_name=task.name,
    )


def network_shape(**changes: Any) -> NetworkShape:
    """A small network's sizes: three members, four agents, two coordinates, three actions."""
    sizes: dict[str, Any] = {
        "members": 3,
        "num_agents": 4,
        "obs_dim": 2,
        "lag": 1,
        "num_actions": 3,
        "action_dim": 0,
        "rank": 2,
        "state_hidden": (8,),
        "action_hidden": (),
        "activation": "silu",
    }
    return NetworkShape(**{**sizes, **changes})


def random_network(
    shape: NetworkShape, seed: int = 0, dtype: torch.dtype = torch.float32
) -> LowRankNetwork:
    """Initial weights, biases and tables made large enough that everything matters."""
    generator = torch.Generator().manual_seed(seed)
    network = LowRankNetwork.initial(shape, generator)
    spread = {"agent.factors": 2.0, "action.factors": 1.0}
    tensors = {
        name: (tensor * spread.get(name, 1.0)).to(dtype) for name, tensor in network.tensors.items()
    }
    return LowRankNetwork(shape, tensors)


def random_simulator(
    task: Task,
    *,
    agents: int = 4,
    members: int = 3,
    lag: int = 1,
    seed: int = 0,
    size: float = 0.3,
    hidden: Sequence[int] = (8,),
    joint: bool = False,
    skip: bool = False,
    angles: Sequence[int] = (),
) -> PerSim:
    """A simulator with random weights and units that are neither 0 nor 1; no fit.

    ``angles`` are coordinates of an observation.
    """
    d = task.observation_space.shape[0]
    space = task.action_space
    discrete = isinstance(space, Discrete)
    shape = network_shape(
        members=members,
        num_agents=agents,
        obs_dim=d,
        lag=lag,
        num_actions=int(space.n) if isinstance(space, Discrete) else 0,
        action_dim=0 if discrete else space.shape[0],
        state_hidden=tuple(hidden),
        action_hidden=() if discrete or joint else (8,),
        joint=joint,
        skip=skip,
        angles=tuple(back * d + column for back in range(lag) for column in angles),
    )
    rng = np.random.default_rng(seed)

    def draw(low: float, high: float, n: int) -> torch.Tensor:
        return torch.as_tensor(rng.uniform(low, high, n), dtype=torch.float32)

    scaling = Scaling(
        input_mean=draw(-0.2, 0.2, d * lag),
        input_scale=draw(0.5, 1.5, d * lag),
        target_mean=draw(-0.05, 0.05, d),
        target_scale=size * draw(0.5, 1.5, d),
        low=torch.as_tensor(task.observation_space.low.copy()),
        high=torch.as_tensor(task.observation_space.high.copy()),
    )
    experience = Experience(
        low=np.full(d, -1.0, dtype=np.float32),
        high=np.full(d, 1.0, dtype=np.float32),
        change_scale=np.full(d, 0.1, dtype=np.float32),
        starts=np.zeros((1, d), dtype=np.float32),
        disagreement_limit=math.inf,
    )
    network = random_network(shape, seed)
    return PerSim(NetworkEnsemble(network, scaling), task, experience, {"task": task.name})


@dataclass(frozen=True)
class WalkTask:
    """Stay at the origin of a line: reward minus the distance, over at 1 or after twelve steps."""

    name: str = "walk"
    observation_space: Box = field(default_factory=lambda: _box(-2.0, 2.0, 1))
    action_space: Discrete = field(default_factory=lambda: Discrete(3))
    max_episode_steps: int = 12
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return -abs(next_obs[..., 0])

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] >= 1.0

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return rng.uniform(-0.9, 0.5, size=(n, 1))


#: Step sizes of the walkers; the actions are to the left, none, and to the right.
STRIDES = (0.25, -0.25, 0.125, 0.5)


def walker(members: int = 2) -> PerSim:
    """A simulator made by hand: agent ``k`` goes ``STRIDES[k] * (action - 1)`` in a step."""
    shape = network_shape(
        members=members, num_agents=len(STRIDES), obs_dim=1, rank=1, state_hidden=(1,)
    )
    network, _ = LowRankNetwork.flat(shape, None, "cpu")
    t = network.tensors
    t["agent.factors"][:] = torch.tensor(STRIDES)[:, None]
    t["action.factors"][:] = torch.tensor([-1.0, 0.0, 1.0])[:, None]
    t["head.bias"][:] = 1.0
    zero, one = torch.zeros(1), torch.ones(1)
    scaling = Scaling(zero, one, zero, one, low=-2 * one, high=2 * one)
    edge = np.full(1, 2.0, dtype=np.float32)
    experience = Experience(-edge, edge, edge, np.zeros((1, 1), dtype=np.float32), math.inf)
    return PerSim(NetworkEnsemble(network, scaling), WalkTask(), experience, {"task": "walk"})


def weights(sim: PerSim) -> torch.Tensor:
    """All fitted parameters as one vector."""
    tensors = sim.ensemble.network.tensors
    return torch.cat([tensors[name].reshape(-1) for name in sorted(tensors)])
