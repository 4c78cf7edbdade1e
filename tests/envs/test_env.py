"""The scalar environment: actions, ends and drawing where tasks differ."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import persim_gym.envs.painter
from persim_gym.envs import make_env
from tests.contract.worlds import CARTPOLE, HALF_CHEETAH, MOUNTAIN_CAR, make, same

# One action from the end of the task, for those that end.
AT_THE_END = {
    MOUNTAIN_CAR: ([0.49, 0.05], 2),
    CARTPOLE: ([2.39, 5.0, 0.0, 0.0], 1),
}


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'pendulum': there are mountain-car \("):
        make_env("pendulum")


@pytest.mark.parametrize("env_id", AT_THE_END)
def test_a_step_after_the_end_is_refused(env_id: str) -> None:
    state, action = AT_THE_END[env_id]
    env = make(env_id, agent=3)
    env.reset(options={"state": state})
    _, _, terminated, truncated, info = env.step(action)
    assert (terminated, truncated, info) == (True, False, {"agent": 3})
    for _ in range(2):
        with pytest.raises(ResetNeeded, match="no episode is running"):
            env.step(action)
    env.reset()
    env.step(action)


@pytest.mark.parametrize("env_id", [MOUNTAIN_CAR, CARTPOLE])
@pytest.mark.parametrize(
    ("action", "error"),
    [
        (3, ValueError),
        (-1, ValueError),
        (10**30, ValueError),
        (1.0, TypeError),
        (float("nan"), TypeError),
        (np.float32(1), TypeError),
        ("left", TypeError),
        (None, TypeError),
        ([1], TypeError),
        (np.array([0, 1]), TypeError),
    ],
    ids=str,
)
def test_an_invalid_discrete_action_is_refused(
    env_id: str, action: Any, error: type[Exception]
) -> None:
    env, other = make(env_id), make(env_id)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(error, match="action must be"):
        env.step(action)
    assert same(env.step(np.int64(1)), other.step(1)), "the episode goes on as it was"
    assert same(env.step(np.array(0)), other.step(0))


@pytest.mark.parametrize(
    "action",
    [
        np.zeros(5),
        np.zeros((1, 6)),
        0.0,
        None,
        "run",
        ["a"] * 6,
        [0, 0, 0, 0, 0, np.nan],
        [np.inf] + [0] * 5,
        [None] * 6,
    ],
    ids=str,
)
def test_an_invalid_continuous_action_is_refused(action: Any) -> None:
    env, other = make(HALF_CHEETAH), make(HALF_CHEETAH)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises((ValueError, TypeError)):
        env.step(action)
    zero = np.zeros(6)
    assert same(env.step(zero), other.step([0] * 6)), "the episode goes on as it was"


def test_a_continuous_action_out_of_bounds_is_clipped() -> None:
    env, other = make(HALF_CHEETAH, agent=1), make(HALF_CHEETAH, agent=1)
    env.reset(seed=0)
    other.reset(seed=0)
    wild = np.array([5.0, -7.0, 0.5, 1.0001, -1e9, 0.0])
    kept = wild.copy()
    ours = env.step(wild)
    assert same(ours, other.step(np.clip(wild, -1, 1)))
    # The cost is of the clipped action, and what the caller gave is left as it was.
    assert ours[1] == pytest.approx(ours[0][0] - 0.1 * (4 + 0.25), abs=1e-6)
    np.testing.assert_array_equal(wild, kept)


@pytest.mark.parametrize("env_id", [MOUNTAIN_CAR, CARTPOLE])
def test_human_mode_shows_by_itself(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(
        persim_gym.envs.painter.Window, "show", lambda self, frame: shown.append(frame.shape)
    )
    env = gym.make(env_id, render_mode="human")
    env.reset(seed=0)
    env.step(0)
    assert env.render() is None
    assert shown == [(400, 600, 3)] * 3
    env.close()


def test_the_last_state_can_be_drawn() -> None:
    state, action = AT_THE_END[CARTPOLE]
    env = gym.make(CARTPOLE, render_mode="rgb_array")
    env.reset(options={"state": state})
    first = env.render()
    env.step(action)
    assert (env.render() != first).any()
