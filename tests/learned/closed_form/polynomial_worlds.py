"""Worlds with known laws, for fits in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.learned.closed_form.problem import Problem, pose
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, transitions

#: State ``[n, d]``, agents ``[n]``, actions ``[n(, a)]`` -> next states.
Law = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]


def record(
    law: Law,
    task: PlainTask,
    agents: int,
    steps: int | list[int] = 40,
    *,
    seed: int = 0,
    noise: float = 0.0,
    restart: int = 20,
    choose: Callable[[np.random.Generator, int], NDArray[Any]] | None = None,
    num_agents: int | None = None,
) -> Transitions:
    """Trajectories of agents ``0 .. agents - 1`` under random actions.

    ``noise`` is added to the next state, which goes on from there. A trajectory begins anew after
    ``restart`` steps. ``steps`` may differ from agent to agent.
    """
    rng = np.random.default_rng(seed)
    space = task.action_space
    d = task.observation_space.shape[0]
    lengths = np.broadcast_to(np.asarray(steps), agents)
    rows: list[tuple[Any, ...]] = []
    state = rng.uniform(-1.0, 1.0, size=(agents, d)).astype(np.float32)
    everyone = np.arange(agents)
    for t in range(int(lengths.max())):
        if t % restart == 0:
            state = rng.uniform(-1.0, 1.0, size=(agents, d)).astype(np.float32)
        if choose is not None:
            action = choose(rng, agents)
        elif isinstance(space, Discrete):
            action = rng.integers(space.n, size=agents)
        else:
            action = rng.uniform(-1.0, 1.0, size=(agents, *space.shape)).astype(np.float32)
        exact = law(state.astype(np.float64), everyone, action)
        following = (exact + noise * rng.normal(size=exact.shape)).astype(np.float32)
        box = task.observation_space
        following = np.clip(following, box.low, box.high)
        alive = t < lengths
        stretch = everyone * 10_000 + t // restart
        rows.append(
            (everyone[alive], state[alive], action[alive], following[alive], stretch[alive])
        )
        state = following
    agent, obs, acted, next_obs, episode = (
        np.concatenate(part) for part in zip(*rows, strict=True)
    )
    order = np.argsort(episode, kind="stable")
    return transitions(
        agent[order],
        obs[order],
        acted[order],
        next_obs[order],
        num_agents=agents if num_agents is None else num_agents,
        episode=np.unique(episode[order], return_inverse=True)[1],
        task_name=task.name,
    )


class LowRankWorld:
    """A damped linear law for all, and ``rank - 1`` quadratic laws that agents have shares in.

    Two coordinates; three discrete actions, or one continuous one, which enters linearly.
    """

    def __init__(
        self, rank: int = 3, agents: int = 40, seed: int = 0, continuous: bool = False
    ) -> None:
        rng = np.random.default_rng(seed)
        self.rank, self.agents, self.continuous = rank, agents, continuous
        self.share = np.concatenate(
            [np.ones((agents, 1)), rng.uniform(-1.7, 1.7, (agents, rank - 1))], 1
        )
        self.choices = 1 if continuous else 3
        q = 3 if continuous else 2
        self.size = (q + 1) * (q + 2) // 2
        self.weights = rng.normal(size=(self.choices, rank, self.size, 2)) / (
            9.0 * (self.size * rank) ** 0.5
        )
        self.weights[:, 0] *= 0.5
        self.task = PlainTask.of(2, actions=0 if continuous else 3, action_dim=1)

    def law(self, s: NDArray[Any], agents: Any, action: NDArray[Any]) -> NDArray[np.float64]:
        """Next states."""
        z = np.concatenate([s, action], axis=1) if self.continuous else s
        one = np.ones(len(s))
        columns = [one, *z.T]
        columns += [z[:, i] * z[:, j] for i in range(z.shape[1]) for j in range(i + 1)]
        phi = np.stack(columns, axis=1)
        chosen = np.zeros(len(s), dtype=int) if self.continuous else action
        push = np.einsum("nr,np,nrpd->nd", self.share[agents], phi, self.weights[chosen])
        return np.asarray(s + np.array([[-0.2, -0.2]]) * s + push)

    def record(self, steps: int | list[int] = 40, **options: Any) -> Transitions:
        """Trajectories of all agents."""
        return record(self.law, self.task, self.agents, steps, **options)


def box_task(low: Any, high: Any, actions: int = 3, name: str = "plain") -> PlainTask:
    """A task with bounds of its own."""
    space = Box(np.asarray(low, np.float32), np.asarray(high, np.float32), dtype=np.float32)
    return PlainTask(name=name, observation_space=space, action_space=Discrete(actions))


def open_loop(
    sim: Any, law: Law, task: PlainTask, agents: Any, steps: int = 20, seed: int = 99
) -> NDArray[np.float64]:
    """Root mean square error of each agent's rollout from fresh states under fresh actions."""
    rng = np.random.default_rng(seed)
    agents = np.asarray(agents)
    d, n = task.observation_space.shape[0], len(agents)
    state = rng.uniform(-1, 1, size=(n, d)).astype(np.float32)
    space = task.action_space
    if isinstance(space, Discrete):
        actions: NDArray[Any] = rng.integers(space.n, size=(n, steps))
    else:
        actions = rng.uniform(-1, 1, size=(n, steps, *space.shape)).astype(np.float32)
    predicted = sim.rollout(agents, state, actions).mean(0)
    truth = []
    now: NDArray[Any] = state.astype(np.float64)
    for t in range(steps):
        now = np.clip(
            law(now, agents, actions[:, t]), task.observation_space.low, task.observation_space.high
        )
        truth.append(now)
    left = predicted - np.stack(truth, axis=1)
    return np.asarray(np.sqrt((left**2).mean(axis=(1, 2))))


def posed(world: LowRankWorld, data: Any) -> Problem:
    used = np.ones(len(data), dtype=np.bool_)
    states = data.states(1).reshape(len(data), -1)
    return pose(data, world.task, states, used, 1, torch.device("cpu"))
