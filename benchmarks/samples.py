"""Data and simulators to measure with: real dynamics, right sizes, no waiting for a fit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.envs.suites import find_suite
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions

AGENTS = 500  # of the paper's populations


def transitions(task_name: str, agents: int, steps: int) -> Transitions:
    """``steps`` transitions of each agent in its true dynamics under random actions."""
    suite = find_suite(task_name)
    task, population = suite.task(), suite.population(agents)
    dynamics = suite.dynamics(population)
    # As long as nothing ends, a smaller population's transitions begin a larger one's.
    rng, starts = (np.random.default_rng([0, part]) for part in range(2))
    space, d = task.action_space, task.observation_space.shape[0]
    action: NDArray[Any]
    if isinstance(space, Discrete):
        action = rng.integers(0, space.n, size=(agents, steps))
    else:
        action = rng.uniform(space.low, space.high, (agents, steps, *space.shape))
        action = action.astype(np.float32)
    obs = np.empty((agents, steps, d), dtype=np.float32)
    next_obs = np.empty_like(obs)
    begins = np.zeros((agents, steps), dtype=np.bool_)
    begins[:, 0] = True
    everyone = np.arange(agents)
    state = task.sample_start(starts, agents)
    for t in range(steps):
        obs[:, t] = state
        state = np.array(dynamics.step(everyone, state, action[:, t]))
        next_obs[:, t] = state
        over = np.asarray(task.terminated(state))
        state[over] = task.sample_start(starts, int(over.sum()))
        begins[over, t + 1 : t + 2] = True
    flat = agents * steps
    terminated = np.asarray(task.terminated(next_obs)).reshape(flat)
    return Transitions(
        agent=np.repeat(everyone, steps),
        obs=obs.reshape(flat, d),
        action=action.reshape(flat, *action.shape[2:]),
        next_obs=next_obs.reshape(flat, d),
        reward=np.asarray(task.reward(obs, action, next_obs), dtype=np.float64).reshape(flat),
        terminated=terminated,
        truncated=np.zeros(flat, dtype=np.bool_),
        episode=np.cumsum(begins.reshape(flat)) - 1,
        num_agents=agents,
        task_name=task_name,
    )


def simulator(task_name: str, agents: int = AGENTS, preset: str = "paper") -> PerSim:
    """A simulator with the networks of a preset, five members, as good as unfitted.

    Its changes of state are made tiny: no episode ends early, so that every step of every plan is
    worked through and paid for.
    """
    data = transitions(task_name, agents, steps=4)
    sim = PerSim.fit(
        data, method="sgd", preset=preset, epochs=1, learning_rate=1e-9, progress=False
    )
    with torch.no_grad():
        for part in ("head.weight", "head.bias"):
            sim.ensemble.network.tensors[part].mul_(1e-3)
    return sim


def multiply_adds(sim: PerSim) -> int:
    """Multiply-adds of one step of one row and one member, as the network is written down.

    State encoder, last layer, action encoder (where actions are continuous) and the product of
    factors. What a specialised form saves of it (a known agent, few actions) counts as done.
    """
    shape = sim.ensemble.network.shape
    state = (shape.input_dim, *shape.state_hidden, shape.obs_dim * shape.rank)
    count = sum(a * b for a, b in itertools.pairwise(state))
    if not (shape.num_actions or shape.joint):
        action = (shape.action_dim, *shape.action_hidden, shape.rank)
        count += sum(a * b for a, b in itertools.pairwise(action))
    return count + shape.rank + shape.obs_dim * shape.rank
