"""Agents by name and by index: one meaning at every face, and an error where there are two."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import persim_gym
from persim_gym import LEARNED_ID
from persim_gym.learned import PerSim
from persim_gym.learned.env import make_env, make_vector_env
from persim_gym.planning import MPC, RandomShooting
from tests.cli.commands import run
from tests.learned.worlds import RankTwoWorld

#: The index of an agent is one less than what it is called.
NUMBERS = tuple(str(k) for k in range(1, 7))


@pytest.fixture(scope="module")
def sim() -> PerSim:
    data = dataclasses.replace(RankTwoWorld(6).record(60), agent_names=NUMBERS)
    return PerSim.fit(data, method="als", degree=1, rank=2, threshold=0.0, ensemble_size=2)


def faces(sim: PerSim) -> dict[str, Any]:
    """Who is meant, by every call that takes one agent."""
    obs, action = np.zeros((1, 2), dtype=np.float32), np.array([0])
    rows = obs, action, obs

    def reset(env: Any, agent: Any) -> int:
        return int(np.ravel(env.reset(options={"agent": agent})[1]["agent"])[0])

    def updated(agent: Any) -> int:
        twin = sim.view()
        twin.update(agent, *rows)
        return int(np.argmax(count_of_each(twin) - count_of_each(sim)))

    def predicted(agent: Any) -> int:
        found = sim.predict(agent, obs, action)
        every = sim.predict(np.arange(6), np.tile(obs, (6, 1)), np.repeat(action, 6))
        return int(np.flatnonzero((every == found).all(1))[0])

    return {
        "index": sim.agent_index,
        "scalar": lambda agent: sim.env(agent).agent,
        "scalar, agents=": lambda agent: make_env(sim, agents=agent).agent,
        "reset": lambda agent: reset(sim.env(), agent),
        "vector": lambda agent: int(sim.vector_env(2, agent).agents[1]),
        "vector, list": lambda agent: int(sim.vector_env(2, [agent, agent]).agents[1]),
        "vector, agent=": lambda agent: int(make_vector_env(sim, 2, agent=agent).agents[1]),
        "vector reset": lambda agent: reset(sim.vector_env(2), agent),
        "vector reset, list": lambda agent: reset(sim.vector_env(2), [agent, agent]),
        "parallel": lambda agent: int(sim.parallel_env([agent]).reset()[1].popitem()[1]["agent"]),
        "planner": lambda agent: int(MPC(sim, agent, planner=RandomShooting(4, 2)).agents[0]),
        "planner, list": lambda agent: int(MPC(sim, [agent]).agents[0]),
        "equations": lambda agent: equations_of(sim, agent),
        "posterior": lambda agent: posterior_of(sim, agent),
        "update": updated,
        "predict": predicted,
    }


def count_of_each(sim: PerSim) -> Any:
    return np.array([sim.posterior(f"index:{k}").count for k in range(6)])


def posterior_of(sim: PerSim, agent: Any) -> int:
    means = [sim.posterior(f"index:{k}").evidence.information for k in range(6)]
    own = sim.posterior(agent).evidence.information
    return next(k for k, mean in enumerate(means) if bool((mean == own).all()))


def equations_of(sim: PerSim, agent: Any) -> int:
    every = [sim.equations(f"index:{k}").expressions for k in range(6)]
    return every.index(sim.equations(agent).expressions)


READINGS = r"agent 3 could be the one that is called '3' \(index 2\) or the one of index 3 "


@pytest.mark.slow
def test_whole_numbers_as_names_mean_one_thing_at_every_face(sim: PerSim) -> None:
    for name, who in faces(sim).items():
        assert [who(given) for given in ("3", "name:3", "index:3")] == [2, 2, 3], name
        # Nobody is called 0, and what has been found is not asked again.
        assert [who(given) for given in (0, sim.agent_index("index:4"))] == [0, 4], name
        with pytest.raises(ValueError, match=READINGS):
            who(3)
        with pytest.raises(ValueError, match=r"no agent of index 6, only 0 to 5; .* as text: '6'"):
            who(6)
        with pytest.raises(ValueError, match="there is no agent '7' among the 6"):
            who("7")


@pytest.mark.slow
def test_a_command_line_says_which(sim: PerSim, tmp_path: Path) -> None:
    folder = str(sim.save(tmp_path / "sim"))

    def body(text: str) -> str:
        return text[text.index("\nd ") :].strip()

    for given, index in (("name:3", 2), ("index:3", 3), ("0", 0), ("6", 5)):
        result = run("equations", folder, "--agent", given)
        assert body(result.stdout) == body(str(sim.equations(f"index:{index}")))
    for given in ("3", "1"):
        result = run("equations", folder, "--agent", given, code=2)
        assert "'name:" in result.output


def test_whoever_is_added_is_called_like_nobody_else(sim: PerSim) -> None:
    twin = sim.view()
    obs = np.zeros((1, 2), dtype=np.float32)
    index = twin.adapt(obs, np.array([0]), obs)
    assert twin.agent_names is not None
    assert len(set(twin.agent_names)) == 7
    assert twin.env(index).agent == index == 6
    assert twin.env(twin.agent_names[6]).agent == 6
    assert sim.num_agents == 6


def test_names_in_lanes_and_in_a_spec(sim: PerSim, tmp_path: Path) -> None:
    folder = sim.save(tmp_path / "sim")
    envs = gym.make_vec(LEARNED_ID, num_envs=3, simulator=folder, agents=["2", "6", "1"])
    assert envs.agents.tolist() == [1, 5, 0]
    _, infos = envs.reset(seed=0, options={"agent": ["5", "index:0", "5"]})
    assert infos["agent"].tolist() == [4, 0, 4]
    rows = np.array([0, 3, 3])  # what transitions hold: indices
    lanes = gym.make_vec(LEARNED_ID, num_envs=3, simulator=folder, agents=rows)
    assert lanes.agents.tolist() == [0, 3, 3]
    env = gym.make(LEARNED_ID, simulator=folder, agent=sim.agent_index("index:3"))
    assert gym.make(type(env.spec).from_json(env.spec.to_json())).unwrapped.agent == 3
    again = gym.make_vec(type(lanes.spec).from_json(lanes.spec.to_json()))
    assert again.agents.tolist() == [0, 3, 3]
    penv = persim_gym.parallel_env(LEARNED_ID, simulator=folder, agents=["4", "2"])
    assert penv.possible_agents == ["4", "2"]
