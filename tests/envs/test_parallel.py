"""The PettingZoo environment, on a world that counts."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import persim_gym.envs.parallel
from persim_gym.envs import SimParallelEnv
from tests.contract.worlds import CountingDynamics, CountingTask


def counting() -> SimParallelEnv:
    return SimParallelEnv(CountingTask(), CountingDynamics(), [2, 0, 1])


def test_an_agent_leaves_when_its_episode_is_over() -> None:
    env = counting()
    obs, _ = env.reset(seed=0)
    assert env.possible_agents == env.agents == ["agent_2", "agent_0", "agent_1"]
    present, counts, endings = [], [], []
    while env.agents:
        present.append(list(env.agents))
        obs, rewards, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
        counts.append({name: row.tolist() for name, row in obs.items()})
        assert rewards == {name: row[0] for name, row in obs.items()}
        endings.append((terminations, truncations))
    assert present == [["agent_2", "agent_0", "agent_1"]] * 2 + [
        ["agent_0", "agent_1"],
        ["agent_0"],
    ]
    assert counts[1:] == [
        {"agent_2": [6.0], "agent_0": [2.0], "agent_1": [4.0]},
        {"agent_0": [3.0], "agent_1": [6.0]},
        {"agent_0": [4.0]},
    ]
    assert endings[1] == (
        {"agent_2": True, "agent_0": False, "agent_1": False},
        dict.fromkeys(present[1], False),
    )
    assert endings[2] == ({"agent_0": False, "agent_1": True}, dict.fromkeys(present[2], False))
    assert endings[3] == ({"agent_0": False}, {"agent_0": True})
    assert env.step({}) == ({}, {}, {}, {}, {}), "nobody is left, and nobody acts"
    with pytest.raises(ResetNeeded, match="no agent is running"):
        env.step({"agent_0": 0})
    env.reset()
    assert env.agents == env.possible_agents


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown task 'PerSim-Pendulum-v0': there are"):
        persim_gym.parallel_env("PerSim-Pendulum-v0", agents=[0])


def test_worlds_are_drawn_side_by_side() -> None:
    env = persim_gym.parallel_env("PerSim-CartPole-v0", agents=[3, 1], render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="nothing to draw yet"):
        env.render()
    env.reset(seed=0)
    env.step({"agent_3": 0, "agent_1": 1})
    frame = env.render()
    assert frame.shape == (400, 1200, 3)
    for place, (agent, seed, action) in enumerate([(3, 0, 0), (1, 1, 1)]):
        scalar = gym.make("PerSim-CartPole-v0", agent=agent, render_mode="rgb_array")
        scalar.reset(seed=seed)
        scalar.step(action)
        part = frame[:, 600 * place : 600 * (place + 1)]
        np.testing.assert_array_equal(part, scalar.render())
    env.close()
    assert persim_gym.parallel_env("PerSim-CartPole-v0", agents=[0]).render() is None


def test_human_mode_shows_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(
        persim_gym.envs.painter.Window, "show", lambda self, frame: shown.append(frame.shape)
    )
    env = persim_gym.parallel_env("PerSim-CartPole-v0", agents=[0, 1], render_mode="human")
    env.reset(seed=0)
    env.step({"agent_0": 0, "agent_1": 0})
    assert shown == [(400, 1200, 3)] * 2
    env.close()
