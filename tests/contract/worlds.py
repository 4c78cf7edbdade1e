"""What the suite covers, a world that counts, and episodes to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray

from persim_gym.envs import SUITES, SimEnv, SimVectorEnv
from persim_gym.offline.transitions import Transitions

# Written out, not read from the registry: a new environment must be entered here by hand.
MOUNTAIN_CAR = "PerSim-MountainCar-v0"
CARTPOLE = "PerSim-CartPole-v0"
HALF_CHEETAH = "PerSim-HalfCheetah-v0"
TRUE_IDS = (MOUNTAIN_CAR, CARTPOLE, HALF_CHEETAH)
LEARNED_ID = "PerSim-Learned-v0"

# A pair of agents and a short time limit, under which random episodes end in both ways.
AGENTS = {
    MOUNTAIN_CAR: (0, 4, 2),
    CARTPOLE: (2, 0, 3),
    HALF_CHEETAH: (0, 4, 1),
}
LIMITS = {MOUNTAIN_CAR: 55, CARTPOLE: 15, HALF_CHEETAH: 4}


@dataclass(frozen=True)
class CountingTask:
    """Count to 6: reward is the new count, episodes are cut off after 4 steps."""

    name: str = "counting"
    observation_space: Box = field(default_factory=lambda: Box(0, 100, (1,), dtype=np.float32))
    action_space: Discrete = field(default_factory=lambda: Discrete(2))
    max_episode_steps: int = 4
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        """The new count: with NumPy a view of the state itself, which a shell must not write to."""
        return next_obs[..., 0]

    def terminated(self, next_obs: Any) -> Any:
        """At six or more."""
        return next_obs[..., 0] >= 6

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """At zero."""
        return np.zeros((n, 1))


class CountingDynamics:
    """Agent k counts in steps of k + 1: agent 0 is cut off at 4, agent 1 ends at 6, in 3 steps."""

    lag = 1
    num_agents = 3

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        """Add; actions do nothing."""
        return states + (np.asarray(agents)[:, None] + 1.0)


def actions_for(space: gym.Space[Any], rng: np.random.Generator, n: int | None = None) -> Any:
    """One action, or ``n``; mostly the last of discrete ones, so that episodes get somewhere."""
    size = () if n is None else (n,)
    if isinstance(space, Discrete):
        last = rng.random(size) < 0.9
        chosen = np.where(last, space.n - 1, rng.integers(space.n, size=size))
        return int(chosen) if n is None else chosen
    assert isinstance(space, Box)
    return rng.uniform(space.low, space.high, (*size, *space.shape)).astype(np.float32)


def trace(env: gym.Env[Any, Any], steps: int, seed: int, actions: int = 0) -> list[Any]:
    """Everything that an environment returns in some steps, begun anew whenever it is over."""
    rng = np.random.default_rng(actions)
    seen: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        result = env.step(actions_for(env.action_space, rng))
        seen.append(result)
        if result[2] or result[3]:
            seen.append(env.reset())
    return seen


def quiet_info(env_id: str, agent: int) -> dict[str, Any]:
    """What ``info`` of a true environment holds as long as nothing is wrong, in every step."""
    return {"agent": agent, **({"guard": ""} if env_id == HALF_CHEETAH else {})}


def assert_same_infos(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Equal keys, masks, and values wherever the mask says that there is one."""
    assert set(ours) == set(theirs)
    for key, values in theirs.items():
        if key.startswith("_"):
            assert ours[key].dtype == np.bool_
            np.testing.assert_array_equal(ours[key], values, err_msg=key)
        elif isinstance(values, dict):
            assert_same_infos(ours[key], values)
        else:
            mask = theirs[f"_{key}"]
            assert mask.any()
            assert ours[key].dtype == values.dtype, key
            for mine, other in zip(ours[key][mask], values[mask], strict=True):
                np.testing.assert_array_equal(mine, other, err_msg=key)


def make(env_id: str, **kwargs: Any) -> SimEnv:
    env = gym.make(env_id, **kwargs).unwrapped
    assert isinstance(env, SimEnv)
    return env


def same(left: Any, right: Any) -> bool:
    return data_equivalence(left, right, exact=True)


def native(env_id: str, num_envs: int = 3, **kwargs: Any) -> SimVectorEnv:
    envs = gym.make_vec(env_id, num_envs=num_envs, **kwargs)
    assert isinstance(envs, SimVectorEnv)
    return envs


NUM_AGENTS = 4


def recorded(task_name: str, steps: int) -> Transitions:
    """One random trajectory of each agent in the true dynamics."""
    suite = SUITES[task_name]
    task, dynamics = suite.task(), suite.dynamics(suite.population(NUM_AGENTS))
    rng = np.random.default_rng(0)
    agents = np.arange(NUM_AGENTS)
    states = task.sample_start(rng, NUM_AGENTS)
    columns: list[tuple[Any, ...]] = []
    for step in range(steps):
        if isinstance(task.action_space, Discrete):
            actions = rng.integers(task.action_space.n, size=NUM_AGENTS)
        else:
            actions = rng.uniform(-1, 1, (NUM_AGENTS, *task.action_space.shape)).astype(np.float32)
        following = dynamics.step(agents, states, actions)
        last = np.full(NUM_AGENTS, step == steps - 1)
        reward = task.reward(states, actions, following)
        columns.append((agents, states, actions, following, reward, last & False, last, agents))
        states = following
    # Time is the first axis: bring each agent's rows together.
    agent, obs, action, following, reward, terminated, truncated, episode = (
        np.stack(column, axis=1).reshape(NUM_AGENTS * steps, *column[0].shape[1:])
        for column in zip(*columns, strict=True)
    )
    return Transitions(
        agent=agent,
        obs=obs.astype(np.float32),
        action=action,
        next_obs=following.astype(np.float32),
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        episode=episode,
        num_agents=NUM_AGENTS,
        task_name=task_name,
    )
