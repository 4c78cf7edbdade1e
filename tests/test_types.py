"""What the public calls return, as a type checker sees it: mypy reads this file, pytest runs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, assert_type

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

import persim_gym
from persim_gym.envs.env import SimEnv
from persim_gym.envs.parallel import SimParallelEnv
from persim_gym.envs.suites import make_env, make_vector_env
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned import LearnedSimEnv, PerSim
from persim_gym.learned.naming import AgentIndex
from persim_gym.planning import ICEM, MPC
from persim_gym.planning.planner_choice import resized

SIM: PerSim = import_module("tests.learned.worlds").walker()
OBS = np.zeros((2, 1), dtype=np.float32)
ACTIONS = np.zeros(2, dtype=np.int64)


def test_predictions_are_of_the_kind_that_was_given() -> None:
    array = assert_type(SIM.predict(0, OBS, ACTIONS), NDArray[np.float32])
    assert type(array) is np.ndarray
    tensor = assert_type(SIM.predict(0, torch.as_tensor(OBS), ACTIONS), torch.Tensor)
    assert type(tensor) is torch.Tensor
    assert_type(SIM.predict(0, OBS.tolist(), ACTIONS), NDArray[np.float32])
    assert_type(SIM.predict_members(0, OBS, ACTIONS), NDArray[np.float32])
    assert_type(SIM.disagreement(0, OBS, ACTIONS), NDArray[np.float32])
    assert_type(SIM.rollout(0, OBS, ACTIONS[:, None]), NDArray[np.float32])
    assert_type(SIM.rollout(0, torch.as_tensor(OBS), ACTIONS[:, None]), torch.Tensor)


def indices(sim: PerSim, data: object) -> None:
    """Read by the checker alone: a simulator without a prior adapts nobody."""
    assert_type(sim.adapt(), int)
    assert_type(sim.adapt(OBS, ACTIONS, OBS, name="new"), int)
    assert_type(sim.adapt(data), int | list[int])
    assert_type(sim.agent_index("a"), AgentIndex)


def test_environments_have_their_own_types() -> None:
    assert_type(SIM.env(0), LearnedSimEnv)
    assert_type(SIM.vector_env(2, agents=0), SimVectorEnv)
    assert_type(SIM.parallel_env([0, 1]), SimParallelEnv)
    assert_type(make_env("cartpole"), SimEnv)
    assert_type(make_vector_env("cartpole"), SimVectorEnv)
    assert_type(persim_gym.parallel_env("PerSim-CartPole-v0", [0]), SimParallelEnv)
    env: gym.Env[NDArray[np.float32], Any] = make_env("cartpole")
    assert env.action_space.contains(0)


def test_planners_keep_their_type() -> None:
    assert_type(resized(ICEM(), candidates=50), ICEM)
    action, _ = MPC(SIM, 0).predict(OBS[0])
    assert_type(action, NDArray[Any])
