"""Reward and termination: one definition for arrays, tensors and what the environments return."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from persim_gym.core import Task
from persim_gym.envs import SUITES, Suite


def random_transitions(task: Task, shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    space = task.observation_space
    low, high = np.maximum(space.low, -3), np.minimum(space.high, 3)
    obs, following = (
        rng.uniform(low, high, (*shape, len(low))).astype(np.float32) for _ in range(2)
    )
    if isinstance(task.action_space, Discrete):
        action = rng.integers(task.action_space.n, size=shape)
    else:
        action = rng.uniform(-1, 1, (*shape, *task.action_space.shape)).astype(np.float32)
    return [obs, action, following]


@pytest.mark.parametrize("shape", [(), (200,), (3, 70)], ids=str)
def test_arrays_and_tensors_agree(suite: Suite, shape: tuple[int, ...]) -> None:
    task = suite.task()
    arrays = random_transitions(task, shape)
    tensors = [torch.as_tensor(array) for array in arrays]
    rewards, ends = task.reward(*arrays), task.terminated(arrays[2])
    rewards_t, ends_t = task.reward(*tensors), task.terminated(tensors[2])
    assert isinstance(rewards_t, torch.Tensor)
    assert rewards_t.is_floating_point()
    assert ends_t.dtype == torch.bool
    assert ends.dtype == np.bool_
    assert np.shape(rewards) == np.shape(ends) == rewards_t.shape == ends_t.shape == shape
    np.testing.assert_allclose(rewards, rewards_t.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ends, ends_t.numpy())
    if shape and suite.name != "half-cheetah":
        assert 0 < ends.mean() < 1, "both answers were compared"


def test_given_arrays_are_left_as_they_were(suite: Suite) -> None:
    task = suite.task()
    arrays = random_transitions(task, (50,))
    before = [array.copy() for array in arrays]
    task.reward(*arrays)
    task.terminated(arrays[2])
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_rewards_and_ends_are_those_of_real_episodes(suite: Suite) -> None:
    task = suite.task()
    env = gym.make(suite.env_id, agent=0)
    rng = np.random.default_rng(1)
    seen = []
    obs, _ = env.reset(seed=0)
    for _ in range(8 if suite.name == "half-cheetah" else 120):
        if suite.name == "mountain-car":
            action = 2
        elif suite.name == "cartpole":
            action = int(rng.integers(2))
        else:
            action = rng.uniform(-1, 1, 6).astype(np.float32)
        following, reward, terminated, truncated, _ = env.step(action)
        seen.append((obs, action, following, reward, terminated))
        obs = env.reset()[0] if terminated or truncated else following
    obs_, action_, following_, reward_, terminated_ = (
        np.array(column) for column in zip(*seen, strict=True)
    )
    np.testing.assert_allclose(
        task.reward(obs_, action_, following_), reward_, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(task.terminated(following_), terminated_)
    assert terminated_.any() == (suite.name != "half-cheetah")


def test_time_limits_of_the_paper() -> None:
    limits = {name: suite.task().max_episode_steps for name, suite in SUITES.items()}
    assert limits == {"mountain-car": 500, "cartpole": 200, "half-cheetah": 1000}


def test_starts_are_those_of_gymnasium() -> None:
    for name, low, high in (
        ("mountain-car", [-0.6, 0], [-0.4, 0]),
        ("cartpole", [-0.05] * 4, [0.05] * 4),
    ):
        starts = SUITES[name].task().sample_start(np.random.default_rng(0), 4000)
        assert (starts >= low).all()
        assert (starts <= high).all()
        np.testing.assert_allclose(starts.min(0), low, atol=1e-3)
        np.testing.assert_allclose(starts.max(0), high, atol=1e-3)
    starts = SUITES["half-cheetah"].task().sample_start(np.random.default_rng(0), 4000)
    assert (starts[:, 0] == 0).all(), "at rest"
    np.testing.assert_allclose(starts[:, 1:].std(0), 0.001, rtol=0.1)
    np.testing.assert_allclose(starts[:, 1:].mean(0), 0, atol=1e-4)


def test_one_call_for_many_starts_is_many_calls(suite: Suite) -> None:
    task = suite.task()
    at_once = task.sample_start(np.random.default_rng(5), 70)
    rng = np.random.default_rng(5)
    one_by_one = np.concatenate([task.sample_start(rng, 1) for _ in range(70)])
    np.testing.assert_array_equal(at_once, one_by_one)
