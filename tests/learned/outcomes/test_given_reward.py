"""Rewards that are given: the same in environments of all shells and in planners, and on disk."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from persim_gym import LEARNED_ID
from persim_gym.core import Task
from persim_gym.envs.suites import find_suite
from persim_gym.learned import DataTask, PerSim
from persim_gym.learned.outcomes.given_reward import (
    RewardedTask,
    check_has_reward,
    columns_of,
    read_reward,
    rewarded,
    without_given,
)
from persim_gym.planning import MPC, RandomShooting
from persim_gym.planning.objective import Objective
from tests.learned.compartments import NAMES, fitted
from tests.learned.worlds import PlainTask, random_simulator

TEXT = "-abs(next.level - 5) - 0.1*dose + 0.01*level"


def by_hand(obs: Any, action: Any, next_obs: Any) -> Any:
    return -abs(next_obs[..., 0] - 5) - 0.1 * action[..., 0] + 0.01 * obs[..., 0]


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> PerSim:
    folder = tmp_path_factory.mktemp("given")
    return fitted(folder / "patients.csv", folder / "sim")


@pytest.mark.parametrize("reward", [TEXT, by_hand], ids=["expression", "function"])
@pytest.mark.parametrize("given", ["to the simulator", "to the environment"])
def test_every_shell_has_the_reward(sim: PerSim, reward: Any, given: str) -> None:
    own, option = (sim.with_reward(reward), {}) if "sim" in given else (sim, {"reward": reward})
    dose = np.array([1.5], dtype=np.float32)
    env = own.env("bob", **option)
    before, _ = env.reset(seed=3)
    after, gained, *_ = env.step(dose)
    expected = by_hand(before, dose, after)
    assert gained == pytest.approx(float(expected), abs=1e-6)
    envs = own.vector_env(2, agents=["bob", "eve"], **option)
    first, _ = envs.reset(seed=3)
    second, rewards, *_ = envs.step(np.stack([dose, dose]))
    np.testing.assert_allclose(rewards, by_hand(first, np.stack([dose, dose]), second), atol=1e-6)
    assert rewards[0] == pytest.approx(gained, abs=1e-6)
    parallel = own.parallel_env(["bob", "eve"], **option)
    parallel.reset(seed=3)
    earned = parallel.step({"bob": dose, "eve": dose})[1]
    assert earned["bob"] == pytest.approx(gained, abs=1e-6)
    assert isinstance(sim.task, DataTask)  # the simulator itself is as it was


@pytest.mark.parametrize("reward", [TEXT, by_hand], ids=["expression", "function"])
def test_planners_have_the_reward(sim: PerSim, reward: Any) -> None:
    task = MPC(sim, "bob", reward=reward).task
    agents, states = torch.tensor([1]), torch.tensor([[4.0]])
    doses = torch.rand(1, 6, 5, 1, generator=torch.Generator().manual_seed(0)) * 3
    found = Objective(task, sim)(agents, states, doses)
    following = sim.rollout(np.full(6, 1), np.full((6, 1), 4.0), doses[0].numpy())
    before = np.concatenate([np.full((2, 6, 1, 1), 4.0), following[:, :, :-1]], axis=2)
    expected = by_hand(before, doses[0].numpy(), following).sum(2).mean(0)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="there is no column 'x'"):
        MPC(sim, "bob", reward="x")


def test_gym_make_and_its_spec(sim: PerSim) -> None:
    env = gym.make(LEARNED_ID, simulator=sim.path, agent="bob", reward=TEXT)
    again = gym.make(type(env.spec).from_json(env.spec.to_json()))  # type: ignore[union-attr]
    steps = []
    for one in (env, again, pickle.loads(pickle.dumps(env.unwrapped)), copy.deepcopy(again)):
        one.reset(seed=1)
        steps.append(one.step(np.array([2.0], dtype=np.float32))[1])
    assert len(set(steps)) == 1
    assert steps[0] != sim.env("bob").task.reward(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    lanes = gym.make_vec(LEARNED_ID, num_envs=2, simulator=str(sim.path), reward="next.level")
    lanes.reset(seed=0)
    obs, reward, *_ = lanes.step(np.ones((2, 1), dtype=np.float32))
    np.testing.assert_allclose(reward, obs[:, 0], rtol=1e-6)


def test_it_is_kept_on_disk(sim: PerSim, tmp_path: Path) -> None:
    sim.with_reward(TEXT).save(tmp_path / "given")
    again = PerSim.load(tmp_path / "given")
    assert isinstance(again.task, RewardedTask)
    assert again.task.given == TEXT
    assert "given_reward" in json.loads((tmp_path / "given" / "simulator.json").read_text())
    assert "given_reward" not in again.card
    back = again.with_reward(None)
    assert isinstance(back.task, DataTask)
    back.save(tmp_path / "back")
    assert isinstance(PerSim.load(tmp_path / "back").task, DataTask)
    with pytest.raises(ValueError, match="is a Python function, which no file keeps"):
        sim.with_reward(by_hand).save(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_task_with_another_reward_is_the_task(sim: PerSim) -> None:
    task = rewarded(sim.task, TEXT)
    assert isinstance(task, Task)
    assert rewarded(task, None) is task
    assert without_given(rewarded(task, "dose")) is sim.task
    assert task.obs_names == ("level",)  # type: ignore[attr-defined]
    assert not hasattr(task, "angles")
    assert repr(task).startswith("RewardedTask(DataTask(")
    cart = random_simulator(find_suite("cartpole").task()).with_reward("-abs(next.angle)")
    env = cart.env(0)
    env.reset(seed=0)
    obs, reward, *_ = env.step(1)
    assert reward == pytest.approx(-abs(float(obs[2])), abs=1e-6)
    assert columns_of(find_suite("half-cheetah").task()).state[0] == "forward_velocity"
    assert columns_of(find_suite("half-cheetah").task()).action[-1] == "action_5"
    assert columns_of(PlainTask()).state == ("obs_0", "obs_1")


def test_rewards_without_a_value_are_refused_where_they_are_earned(sim: PerSim) -> None:
    env = sim.env("bob", reward="log(dose - 10)")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"reward log\(dose - 10\) is nan.*level="):
        env.step(np.array([1.0], dtype=np.float32))
    # A planner takes such a sequence for the worst.
    best = RandomShooting(candidates=64, horizon=1)
    mpc = MPC(sim, "bob", reward="next.level + 0.1 * log(1.5 - dose)", planner=best)
    assert mpc.predict(np.array([4.0]))[0] < 1.5


@pytest.mark.parametrize(
    ("reward", "error", "says"),
    [
        (3, TypeError, "must be an expression over columns or a function"),
        ("", ValueError, "reward must not be empty"),
        (lambda obs, action, next_obs: 1.0, ValueError, r"the shape \(\) for observations"),
        (lambda obs, action, next_obs: next_obs, ValueError, "a number for each step"),
        (lambda obs: obs, TypeError, "the reward function fails"),
        (lambda obs, action, next_obs: int("x"), TypeError, "invalid literal"),
    ],
)
def test_what_is_no_reward(sim: PerSim, reward: Any, error: type[Exception], says: str) -> None:
    for use in (sim.with_reward, lambda r: sim.env("bob", reward=r), lambda r: MPC(sim, reward=r)):
        with pytest.raises(error, match=says):
            use(reward)


def test_a_function_in_a_file(sim: PerSim, tmp_path: Path) -> None:
    assert read_reward(None) is None
    assert read_reward(TEXT) == TEXT
    path = tmp_path / "my rewards.py"
    path.write_text("def gain(obs, action, next_obs):\n    return next_obs[..., 0]\n")
    found = sim.with_reward(read_reward(f"{path}:gain"))
    assert found.task.reward(*np.ones((3, 2, 1))).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="has no function 'loss': it has gain"):
        read_reward(f"{path}:loss")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_reward(f"{tmp_path / 'none.py'}:gain")
    path.write_text("1 / 0\n")
    with pytest.raises(ValueError, match="can not be run: ZeroDivisionError"):
        read_reward(f"{path}:gain")


@pytest.mark.slow
def test_data_without_a_reward_have_nothing_to_choose_by(tmp_path: Path) -> None:
    sim = fitted(tmp_path / "patients.csv", reward=None)
    with pytest.raises(ValueError, match=r"no reward that could be learned.*columns level, dose"):
        check_has_reward(sim.task)
    check_has_reward(sim.with_reward(TEXT).task)
    assert sim.agent_names == NAMES
