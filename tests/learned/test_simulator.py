"""What a user holds: copies that are their own, and the ways out of a simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.envs import SimParallelEnv, SimVectorEnv
from persim_gym.learned import PerSim
from persim_gym.learned.environments.shells import LearnedSimEnv
from persim_gym.learned.outcomes.given_reward import RewardedTask
from tests.learned.worlds import PlainTask, random_simulator, random_walks

TASK = PlainTask.of(2, actions=3)


@pytest.fixture
def sim() -> PerSim:
    return random_simulator(TASK, agents=4)


@pytest.fixture(scope="module")
def fitted() -> PerSim:
    """Of data whose task is learned."""
    quick: dict[str, Any] = {"method": "als", "degree": 1, "rank": 1, "threshold": 0.0}
    return PerSim.fit(random_walks(TASK), progress=False, **quick)


def test_a_view_is_changed_alone(fitted: PerSim) -> None:
    twin = fitted.view()
    assert twin.ensemble is fitted.ensemble
    twin.rename(("a", "b", "c", "d"))
    assert (twin.agent_names, fitted.agent_names) == (("a", "b", "c", "d"), None)
    assert twin.adapt() == 4
    assert (twin.num_agents, fitted.num_agents) == (5, 4)
    assert PerSim.of(fitted._parts).ensemble is fitted.ensemble


def test_on_another_device_it_is_another(sim: PerSim) -> None:
    moved = sim.to("cpu")
    assert moved is not sim
    assert moved.device == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'abacus'"):
        sim.to("abacus")


def test_another_reward_is_another_simulator_s(sim: PerSim) -> None:
    given = sim.with_reward("-obs_0")
    assert isinstance(given.task, RewardedTask)
    assert sim.task is TASK
    assert given.ensemble is sim.ensemble
    assert given.with_reward(None).task is TASK
    obs = np.array([[2.0, 1.0]])
    assert float(np.asarray(given.task.reward(obs, np.array([0]), obs))[0]) == -2.0


def test_the_three_shells(sim: PerSim) -> None:
    env, lanes, beside = sim.env(2), sim.vector_env(3, 1), sim.parallel_env([3, 0])
    assert isinstance(env, LearnedSimEnv)
    assert env.agent == 2
    assert isinstance(lanes, SimVectorEnv)
    assert lanes.agents.tolist() == [1, 1, 1]
    assert isinstance(beside, SimParallelEnv)
    assert beside.possible_agents == ["agent_3", "agent_0"]


def test_it_says_what_it_is(sim: PerSim) -> None:
    assert repr(sim) == "PerSim(task='plain', agents=4, rank=2, members=3, device='cpu')"


def test_what_is_saved_is_known_by_its_sum(fitted: PerSim, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "sim")
    loaded = PerSim.load(folder)
    assert loaded.sha256 == fitted.sha256
    other = fitted.view()
    other.adapt()
    assert other.sha256 != fitted.sha256
    obs = np.zeros((2, 2), np.float32)
    np.testing.assert_array_equal(
        loaded.predict([0, 1], obs, [1, 2]), fitted.predict([0, 1], obs, [1, 2])
    )


def test_no_folder_goes_with_it(fitted: PerSim) -> None:
    sim = fitted.view()
    sim.card["source"] = {"path": "/home/ann/patients.csv"}
    assert sim.without_folders().card["source"]["path"] == "patients.csv"
    assert sim.card["source"]["path"] == "/home/ann/patients.csv"


def test_a_fit_is_repeated_in_its_way(fitted: PerSim) -> None:
    again = fitted.refit(random_walks(TASK))
    assert again.card["config"] == fitted.card["config"]
    np.testing.assert_allclose(again.latent_factors, fitted.latent_factors)


def test_equations_are_of_one_agent_or_of_all(fitted: PerSim) -> None:
    every, own = str(fitted.equations()), str(fitted.equations(2))
    assert every != own
    with pytest.raises(ValueError, match="agent 9"):
        fitted.equations(9)
    with pytest.raises((TypeError, ValueError), match=r"closed form|equations"):
        random_simulator(TASK).equations()
