"""A learned environment, scalar, in lanes and beside others, where each step is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from persim_gym.envs.guard import Reason
from tests.learned.lines import NONE, constant_simulator, positions


def test_the_mean_of_the_members() -> None:
    env = constant_simulator(1.0, 2.0, 6.0).env(agent=2)
    assert positions(env, 5) == [0, 3, 6, 9, 12, 15]
    env.reset()
    _, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, truncated) == (3.0, False, False)
    spread = pytest.approx(np.std([1, 2, 6]), rel=1e-6)
    assert info == {"agent": 2, "disagreement": spread, "clipped": 0, "guard": "", **NONE}


def test_disagreement_is_in_units_of_the_recorded_changes() -> None:
    env = constant_simulator(1.0, 2.0, 6.0, change_scale=4.0).env()
    env.reset()
    assert env.step(0)[4]["disagreement"] == pytest.approx(np.std([1, 2, 6]) / 4, rel=1e-6)
    alone = constant_simulator(2.0).env()
    alone.reset()
    assert alone.step(0)[4]["disagreement"] == 0


def test_a_random_member_in_each_step() -> None:
    sim = constant_simulator(1.0, 2.0, 6.0)
    env = sim.env(propagation="random_member", max_episode_steps=10)
    changes = np.concatenate(
        [np.diff(positions(env, 10, seed=0 if i == 0 else None)) for i in range(12)]
    )
    values, counts = np.unique(changes, return_counts=True)
    assert values.tolist() == [1, 2, 6]
    assert (counts > 20).all()
    lanes = sim.vector_env(200, propagation="random_member")
    obs, _ = lanes.reset(seed=0)
    following = lanes.step(np.zeros(200, dtype=int))[0]
    values, counts = np.unique(following - obs, return_counts=True)
    assert values.tolist() == [1, 2, 6]
    assert (counts > 40).all()


def test_a_fixed_member_for_an_episode() -> None:
    sim = constant_simulator(1.0, 2.0, 6.0)
    env = sim.env(propagation="fixed_member", max_episode_steps=10)
    followed = []
    for episode in range(30):
        changes = np.diff(positions(env, 4, seed=0 if episode == 0 else None))
        assert len(set(changes)) == 1
        followed.append(changes[0])
    assert set(followed) == {1, 2, 6}


def test_a_fixed_member_in_lanes_is_drawn_anew_with_each_episode() -> None:
    lanes = constant_simulator(1.0, 2.0, 6.0).vector_env(
        60,
        propagation="fixed_member",
        max_episode_steps=3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    lanes.reset(seed=0)
    episodes = []
    for _ in range(4):
        rewards = np.stack([lanes.step(np.zeros(60, dtype=int))[1] for _ in range(3)])
        followed = rewards[0].round(5)
        np.testing.assert_allclose(rewards, followed * np.array([[1], [2], [3]]), rtol=1e-6)
        assert set(followed) == {1, 2, 6}
        episodes.append(rewards[0])
    assert (episodes[0] != episodes[1]).any()


def test_members_of_parallel_agents() -> None:
    env = constant_simulator(1.0, 2.0, 6.0).parallel_env([2, 0, 1], propagation="fixed_member")
    seen = set()
    for _ in range(12):
        env.reset(seed=None)
        steps = [env.step(dict.fromkeys(env.agents, 0))[1] for _ in range(2)]
        for name in env.agents:
            assert steps[1][name] == pytest.approx(2 * steps[0][name], rel=1e-6)
            seen.add(round(steps[0][name], 5))
    assert seen == {1, 2, 6}


def test_a_state_of_several_observations() -> None:
    sim = constant_simulator(1.0, momentum=True)
    assert sim.lag == 2
    # Nothing has moved before the beginning; then every change adds one to the last.
    triangle = [0, 1, 3, 6, 10]
    env = sim.env(max_episode_steps=4)
    assert positions(env, 4) == triangle
    assert positions(env, 4) == triangle, "the past ends with the episode"
    assert positions(env, 2, options={"state": [20.0]}) == [20, 21, 23]
    lanes = sim.vector_env(2, max_episode_steps=4, autoreset_mode=AutoresetMode.SAME_STEP)
    lanes.reset(seed=0)
    rewards = [lanes.step(np.zeros(2, dtype=int))[1].tolist() for _ in range(8)]
    assert rewards == [[x, x] for x in 2 * triangle[1:]]
    parallel = sim.parallel_env([0, 2], max_episode_steps=4)
    parallel.reset(options={"state": {"agent_2": [-49.5]}})
    counts = [parallel.step(dict.fromkeys(parallel.agents, 0))[1] for _ in range(3)]
    assert [c["agent_2"] for c in counts] == [-48.5, -46.5, -43.5]


def ending(env: gym.Env[Any, Any]) -> tuple[int, bool, bool, dict[str, Any], float]:
    """How the next episode ends: after how many steps, by what, and where."""
    env.reset()
    for step in range(1, 1000):
        obs, _, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            return step, terminated, truncated, info, obs.item()
    raise AssertionError("the episode does not end")


def test_the_guard_stops_off_the_support() -> None:
    # Recorded from 0 to 10, so the guard lets pass up to 15.
    sim = constant_simulator(2.0, 2.0, low=0.0, high=10.0)
    step, terminated, truncated, info, position = ending(sim.env())
    assert (step, terminated, truncated, position) == (8, False, True, 16.0)
    assert info["guard"] == "support"
    step, terminated, truncated, info, _ = ending(sim.env(guard=False))
    assert (step, terminated, truncated) == (30, False, True)
    assert info["guard"] == ""
    below = constant_simulator(-2.0, -2.0, low=0.0, high=10.0)
    assert ending(below.env())[0] == 3, "-6 is below -5"


def test_the_guard_stops_at_disagreement() -> None:
    # The deviation of 1 and 3 is 1.
    calm = constant_simulator(1.0, 3.0, disagreement_limit=1.01)
    assert ending(calm.env())[0] == 30
    torn = constant_simulator(1.0, 3.0, disagreement_limit=0.99)
    step, terminated, truncated, info, position = ending(torn.env())
    assert (step, terminated, truncated, position) == (1, False, True, 2.0)
    assert info["guard"] == "disagreement"
    assert info["disagreement"] == pytest.approx(1.0)
    step, _, _, info, _ = ending(torn.env(guard=False))
    assert (step, info["guard"]) == (30, "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("propagation", ["mean", "random_member", "fixed_member"])
def test_what_is_not_finite_always_stops(value: float, guard: bool, propagation: str) -> None:
    sim = constant_simulator(1.0, value)
    env = sim.env(guard=guard, propagation=propagation, penalty=2.0)
    for seed in range(6):
        env.reset(seed=seed, options={"state": [4.0]})
        obs, reward, terminated, truncated, info = env.step(0)
        assert (terminated, truncated, info["guard"]) == (False, True, "non-finite")
        assert obs in env.observation_space
        # No reward is made of what is not a number, and no price of it either.
        assert math.isfinite(reward)
        assert info["penalty"] == 0
        assert info["disagreement"] == math.inf
    if propagation == "mean":
        assert (obs.item(), reward) == (4.0, 4.0), "the last state that was one"


def test_an_overflowing_disagreement_stops_too() -> None:
    # Bounds that far out hold nothing back.
    env = constant_simulator(-3e38, 3e38, bound=math.inf).env(guard=False, penalty=1.0)
    env.reset()
    _, reward, _, truncated, info = env.step(0)
    assert (truncated, info["guard"]) == (True, "non-finite")
    assert math.isfinite(reward)


def test_the_guard_speaks_of_its_lane_alone() -> None:
    sim = constant_simulator(2.0, 2.0, low=0.0, high=10.0)
    states = np.array([[0.0], [12.0], [14.0]])
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        lanes = sim.vector_env(3, autoreset_mode=mode)
        lanes.reset(seed=0, options={"state": states})
        _, _, terminated, truncated, infos = lanes.step(np.zeros(3, dtype=int))
        assert (terminated.any(), truncated.tolist()) == (False, [False, False, True])
        assert infos["_guard"].all()
        assert infos["guard"].tolist() == [0, 0, Reason("support")]
        assert (infos["guard"] == "support").tolist() == [False, False, True]
        assert infos["guard"][2] == "support"
    lanes = sim.vector_env(3, autoreset_mode=AutoresetMode.SAME_STEP)
    lanes.reset(seed=0, options={"state": states})
    infos = lanes.step(np.zeros(3, dtype=int))[4]
    assert not infos["guard"].any(), "the next episode has begun"
    assert infos["final_info"]["guard"][2] == "support"
    assert infos["final_info"]["_guard"].tolist() == [False, False, True]
    assert infos["_disagreement"].all()
    assert infos["final_info"]["_disagreement"].tolist() == [False, False, True]
    penv = sim.parallel_env([0, 1])
    penv.reset(options={"state": {"agent_1": [14.0]}})
    *_, terminations, truncations, infos = penv.step({"agent_0": 0, "agent_1": 0})
    assert truncations == {"agent_0": False, "agent_1": True}
    assert not any(terminations.values())
    assert (infos["agent_0"]["guard"], infos["agent_1"]["guard"]) == ("", "support")
    assert penv.agents == ["agent_0"]


def test_the_task_ends_where_it_ends() -> None:
    step, terminated, truncated, info, position = ending(constant_simulator(-8.0, -8.0).env())
    assert (step, terminated, truncated, position) == (7, True, False, -56.0)
    assert info["guard"] == ""


def test_a_penalty_is_subtracted() -> None:
    env = constant_simulator(1.0, 3.0).env(penalty=0.25)
    env.reset(options={"state": [10.0]})
    _, reward, _, _, info = env.step(0)
    assert info["reward_raw"] == 12.0
    assert info["penalty"] == pytest.approx(0.25)
    assert reward == info["reward_raw"] - info["penalty"]
    free = constant_simulator(1.0, 3.0).env()
    free.reset(options={"state": [10.0]})
    _, reward, _, _, info = free.step(0)
    assert reward == 12.0
    assert set(info) == {"agent", "disagreement", "clipped", "guard", *NONE}


def test_a_penalty_in_lanes() -> None:
    lanes = constant_simulator(1.0, 3.0).vector_env(2, penalty=0.5, max_episode_steps=2)
    lanes.reset(seed=0)
    go = np.zeros(2, dtype=int)
    for _ in range(2):
        _, reward, _, _, infos = lanes.step(go)
        np.testing.assert_allclose(reward, infos["reward_raw"] - 0.5)
        np.testing.assert_allclose(infos["penalty"], 0.5)
    _, reward, *_, infos = lanes.step(go)
    assert reward.tolist() == [0.0, 0.0]
    for key in ("reward_raw", "penalty", "disagreement"):
        assert infos[key].tolist() == [0.0, 0.0], "the step that only resets has no price"


def test_clipping_is_counted() -> None:
    env = constant_simulator(3.0, 3.0).env()
    env.reset(options={"state": [97.0]})
    first, second = env.step(0), env.step(0)
    assert (first[0].item(), first[4]["clipped"]) == (100.0, 0)
    assert (second[0].item(), second[4]["clipped"]) == (100.0, 1)
    assert second[1] == 100.0, "the reward is of the state that is returned"
    lanes = constant_simulator(3.0, 3.0).vector_env(2)
    lanes.reset(seed=0, options={"state": [[99.0], [0.0]]})
    assert lanes.step(np.zeros(2, dtype=int))[4]["clipped"].tolist() == [1, 0]


def test_starts_of_the_data() -> None:
    sim = constant_simulator(1.0, starts=(5.0, 7.0, 9.0))
    env = sim.env(start="data")
    drawn = [env.reset(seed=0)[0].item()] + [env.reset()[0].item() for _ in range(140)]
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [5, 7, 9]
    assert (counts > 20).all()
    # Lanes draw ahead, and see the very same.
    lanes = sim.vector_env(
        2, start="data", max_episode_steps=1, autoreset_mode=AutoresetMode.SAME_STEP
    )
    seen = [lanes.reset(seed=0)[0][0].item()]
    seen += [lanes.step(np.zeros(2, dtype=int))[0][0].item() for _ in range(140)]
    assert seen == drawn
    assert sim.env().reset(seed=0)[0].item() == 0.0, "by default the task's starts"
    assert sim.parallel_env([0], start="data").reset(seed=0)[0]["agent_0"].item() == drawn[0]


def test_the_time_limit_is_the_environments_own(tmp_path: Path) -> None:
    sim = constant_simulator(1.0)
    assert ending(sim.env())[:3] == (30, False, True)
    assert ending(sim.env(max_episode_steps=4))[:3] == (4, False, True)
    assert ending(sim.env(max_episode_steps=47))[:3] == (47, False, True)
    for steps, limit in ((None, 30), (3, 3)):
        options = {} if steps is None else {"max_episode_steps": steps}
        lanes = sim.vector_env(2, **options)
        lanes.reset(seed=0)
        cut = [lanes.step(np.zeros(2, dtype=int))[3].all() for _ in range(limit)]
        assert cut == [False] * (limit - 1) + [True]
