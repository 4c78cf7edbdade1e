"""The vector environment: what autoreset means, on a world that counts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from persim_gym.envs import SimVectorEnv
from tests.contract.worlds import TRUE_IDS, CountingDynamics, CountingTask, native


def counting(mode: AutoresetMode, **kwargs: Any) -> SimVectorEnv:
    return SimVectorEnv(CountingTask(), CountingDynamics(), 3, autoreset_mode=mode, **kwargs)


def test_next_step_autoreset_counts() -> None:
    envs = counting(AutoresetMode.NEXT_STEP)
    obs, infos = envs.reset(seed=0)
    assert obs[:, 0].tolist() == [0, 0, 0]
    assert infos["agent"].tolist() == [0, 1, 2]
    steps = [envs.step(np.zeros(3, dtype=int)) for _ in range(8)]
    seen = np.array([obs[:, 0] for obs, *_ in steps]).T.tolist()
    assert seen[0] == [1, 2, 3, 4, 0, 1, 2, 3]
    assert seen[1] == [2, 4, 6, 0, 2, 4, 6, 0]
    assert seen[2] == [3, 6, 0, 3, 6, 0, 3, 6]
    # The reward is the count; the step that only resets earns nothing and ends nothing.
    assert np.array([reward for _, reward, *_ in steps]).T.tolist() == seen
    ended = np.array([terminated for _, _, terminated, _, _ in steps]).T
    cut = np.array([truncated for *_, truncated, _ in steps]).T
    assert [np.flatnonzero(lane).tolist() for lane in ended] == [[], [2, 6], [1, 4, 7]]
    assert [np.flatnonzero(lane).tolist() for lane in cut] == [[3], [], []]
    for *_, infos in steps:
        assert infos["agent"].tolist() == [0, 1, 2]
        assert infos["_agent"].all()


def test_same_step_autoreset_counts() -> None:
    envs = counting(AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    steps = [envs.step(np.zeros(3, dtype=int)) for _ in range(6)]
    seen = np.array([obs[:, 0] for obs, *_ in steps]).T.tolist()
    assert seen[0] == [1, 2, 3, 0, 1, 2]
    assert seen[1] == [2, 4, 0, 2, 4, 0]
    assert seen[2] == [3, 0, 3, 0, 3, 0]
    rewards = np.array([reward for _, reward, *_ in steps]).T.tolist()
    assert rewards == [[1, 2, 3, 4, 1, 2], [2, 4, 6, 2, 4, 6], [3, 6, 3, 6, 3, 6]]
    infos = steps[3][4]
    assert infos["_final_obs"].tolist() == [True, False, True]
    assert [None if o is None else o.tolist() for o in infos["final_obs"]] == [[4.0], None, [6.0]]
    assert infos["final_obs"][0].dtype == np.float32
    assert infos["final_info"]["agent"].tolist() == [0, 1, 2]
    assert infos["final_info"]["_agent"].tolist() == [True, False, True]
    assert infos["_final_info"].tolist() == [True, False, True]
    for *_, infos in steps:
        assert infos["agent"].tolist() == [0, 1, 2]
        assert infos["_agent"].all()
    assert set(steps[0][4]) == {"agent", "_agent"}


def test_disabled_autoreset_counts() -> None:
    envs = counting(AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="the first reset begins every lane"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.reset(seed=0, options={"reset_mask": np.ones(3, dtype=np.bool_)})
    go = np.zeros(3, dtype=int)
    envs.step(go)
    obs, _, terminated, _, infos = envs.step(go)
    assert (obs[:, 0].tolist(), terminated.tolist()) == ([2, 4, 6], [False, False, True])
    assert infos["_agent"].all()
    for _ in range(2):
        with pytest.raises(ResetNeeded, match=r"lanes \[2\] are over"):
            envs.step(go)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(ResetNeeded, match=r"lanes \[2\] are over"):
        envs.step(go)
    # The refused steps have not counted; lane 0 begins anew although it was not over.
    obs, infos = envs.reset(options={"reset_mask": np.array([False, False, True])})
    assert obs[:, 0].tolist() == [0, 4, 0]
    assert infos["_agent"].tolist() == [False, False, True]
    obs, _, terminated, *_ = envs.step(go)
    assert (obs[:, 0].tolist(), terminated.tolist()) == ([1, 6, 3], [False, True, False])


def test_a_reset_of_some_lanes_starts_their_time_anew() -> None:
    envs = counting(AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    go = np.zeros(3, dtype=int)
    for _ in range(3):
        envs.step(go)
    obs, _ = envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert obs[:, 0].tolist() == [0, 6, 0]
    for expected in (False, False, False, True):
        *_, truncated, _ = envs.step(go)
        assert truncated[0] == expected


def test_a_full_reset_forgets_what_is_over() -> None:
    envs = counting(AutoresetMode.NEXT_STEP)
    go = np.zeros(3, dtype=int)
    envs.reset(seed=0)
    envs.step(go)
    assert envs.step(go)[2].tolist() == [False, False, True]
    envs.reset()
    assert envs.step(go)[0][:, 0].tolist() == [1, 2, 3]


def test_the_time_limit_is_the_tasks_or_ones_own() -> None:
    go = np.zeros(3, dtype=int)
    for kwargs, limit in (({}, 4), ({"max_episode_steps": 2}, 2), ({"max_episode_steps": 9}, 6)):
        envs = counting(AutoresetMode.SAME_STEP, **kwargs)
        envs.reset(seed=0)
        steps = 1
        while not (result := envs.step(go))[2][0] | result[3][0]:
            steps += 1
        assert steps == limit
        assert result[3][0] == (limit < 6)


def test_an_ending_on_the_last_step_is_also_a_cut_as_in_gymnasium() -> None:
    envs = counting(AutoresetMode.NEXT_STEP, max_episode_steps=2)
    envs.reset(seed=0)
    envs.step(np.zeros(3, dtype=int))
    _, _, terminated, truncated, _ = envs.step(np.zeros(3, dtype=int))
    assert terminated.tolist() == [False, False, True]
    assert truncated.tolist() == [True, True, True]


@pytest.mark.parametrize("mode", [*AutoresetMode, "SameStep", "same_step", "SAME_STEP"], ids=str)
def test_an_autoreset_mode_and_its_names(mode: Any) -> None:
    envs = native(TRUE_IDS[0], 2, autoreset_mode=mode)
    expected = mode if isinstance(mode, AutoresetMode) else AutoresetMode.SAME_STEP
    assert envs.metadata["autoreset_mode"] is expected
    assert type(envs).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_the_registered_limit_holds_in_vectors() -> None:
    envs = native("PerSim-MountainCar-v0", 2, agents=4)
    envs.reset(seed=0)
    # Agent 4, of the strongest gravity, gets nowhere by pushing right.
    for step in range(1, 501):
        *_, terminated, truncated, _ = envs.step(np.array([2, 2]))
        assert not terminated.any()
        assert truncated.all() == (step == 500)


def test_frames_of_all_lanes() -> None:
    envs = native("PerSim-CartPole-v0", 2, agents=[0, 1], render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="nothing to draw yet"):
        envs.render()
    envs.reset(seed=0)
    envs.step(np.array([0, 1]))
    frames = envs.render()
    scalar = gym.make("PerSim-CartPole-v0", agent=1, render_mode="rgb_array")
    scalar.reset(seed=1)
    scalar.step(1)
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[1], scalar.render())
    assert (frames[0] != frames[1]).any()
    envs.close()
    envs.close()


class Wary(CountingDynamics):
    """One that episodes' ends must not be given to."""

    def step(self, agents: Any, states: Any, actions: Any) -> Any:
        assert not np.any(CountingTask().terminated(states))
        return super().step(agents, states, actions)


def test_nothing_is_asked_of_lanes_that_are_over() -> None:
    envs = SimVectorEnv(CountingTask(), Wary(), 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    ended = 0
    for _ in range(30):
        ended += int(envs.step(np.ones(3, dtype=np.int64))[2].sum())
    assert ended
