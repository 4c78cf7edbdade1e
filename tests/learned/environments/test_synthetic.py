"""Synthetic trajectories: what the simulator does, kept as a data set that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.learned.simulator import PerSim
from persim_gym.offline import datasets, read_table
from persim_gym.offline.card_making import data_card
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import random_simulator

ID = "persim/synthetic/a-v0"


pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return random_simulator(find_suite("cartpole").task())


def drawn(sim: PerSim, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "agents": [0, 2], "episodes": 3, "seed": 1, "dataset_id": ID, "max_episode_steps": 9,
        "overwrite": True, "progress": False,
    }  # fmt: skip
    return sim.generate(**{**given, **changes})


def test_it_says_that_it_is_synthetic_and_by_which_simulator(sim: PerSim, tmp_path: Path) -> None:
    data = drawn(sim)
    sim.save(tmp_path / "sim")
    from persim_gym import store

    _, card = store.read(tmp_path / "sim" / store.SIMULATOR, "simulator")
    assert card["kind"] == "simulator"
    made = datasets.card_of(data)["synthetic"]
    assert made["simulator_sha256"] == sim.sha256 == PerSim.load(tmp_path / "sim").sha256
    assert data.storage.metadata["description"].startswith("Synthetic")
    assert sim.sha256 in data.storage.metadata["description"]
    read = data_card(data)
    assert read.recipe["synthetic"] == made
    assert read.intact


@pytest.mark.parametrize("guard", [False, True])
def test_its_steps_are_those_of_the_simulators_environment(sim: PerSim, guard: bool) -> None:
    steps = read_transitions(drawn(sim, guard=guard))
    assert sorted(set(steps.agent.tolist())) == [0, 2]
    assert steps.task_name == "cartpole"
    for agent in (0, 2):
        env = sim.env(agent, guard=guard, max_episode_steps=9)
        for first, length in zip(steps.starts, steps.lengths, strict=True):
            if steps.agent[first] != agent:
                continue
            seed = int(_seed_of(steps, first))
            obs, _ = env.reset(seed=seed)
            np.testing.assert_array_equal(obs, steps.obs[first])
            for row in range(first, first + length):
                obs, reward, over, cut, _ = env.step(int(steps.action[row]))
                np.testing.assert_allclose(obs, steps.next_obs[row], rtol=1e-5, atol=1e-6)
                assert (reward, over, cut) == (
                    steps.reward[row], steps.terminated[row], steps.truncated[row]
                )  # fmt: skip


def _seed_of(steps: Transitions, first: int) -> Any:
    entries = datasets.episode_metadata(datasets.load(ID))
    return entries[int(steps.episode[first])]["seed"]


@pytest.mark.slow
def test_the_guards_reasons_are_kept(sim: PerSim) -> None:
    data = drawn(sim, episodes=20, max_episode_steps=40)
    summary = datasets.card_of(data)["summary"]
    reasons: dict[float, int] = {}
    for episode in data.iterate_episodes():
        guard = np.ravel(episode.infos["guard"])
        assert len(guard) == len(episode.rewards) + 1
        assert (guard[:-1] == 0).all()
        assert np.isfinite(np.ravel(episode.infos["disagreement"])[0])
        if guard[-1]:
            assert episode.truncations[-1]
            reasons[float(guard[-1])] = reasons.get(float(guard[-1]), 0) + 1
    assert reasons, "no episode was stopped: the test shows nothing"
    assert sum(summary["guard"].values()) == summary["stopped"] == sum(reasons.values())
    assert data_card(data).end_counts()["guard"] == sum(reasons.values())


def test_it_is_its_seed_alone(sim: PerSim) -> None:
    def content(**changes: Any) -> str:
        return str(datasets.card_of(drawn(sim, **changes))["sha256"])

    first = content()
    assert content() == first
    assert content(seed=2) != first
    assert content(propagation="random_member") != first
    assert content(propagation="random_member") == content(propagation="random_member")


def test_agents_with_names_keep_them_and_others_are_refused(sim: PerSim) -> None:
    named = sim.view()
    named.rename([f"p{k}" for k in range(sim.num_agents)])
    data = drawn(named, agents=["p2", "p0"])
    steps = read_transitions(data)
    assert steps.agent_names == ("p0", "p2")
    options = [entry["options"]["agent"] for entry in datasets.episode_metadata(data)]
    assert options == ["p2"] * 3 + ["p0"] * 3
    with pytest.raises(ValueError, match="there is no agent 'p99'"):
        drawn(named, agents=["p99"])
    with pytest.raises(ValueError, match="does not exist"):
        drawn(sim, agents=[sim.num_agents])


def test_coordinates_of_a_table_keep_their_names_units_and_bounds() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "who": np.repeat(["a", "b", "c"], 12),
            "t": np.tile(np.arange(12), 3),
            "iron": rng.uniform(1, 9, 36),
            "mood": rng.normal(size=36),
            "pill": rng.choice(["none", "red", "blue"], 36),
        }
    )
    columns = {"agent": "who", "time": "t", "state": ["iron", "mood"], "action": "pill"}
    given = read_table(
        table, **columns, bounds={"iron": (0, 20)}, units={"iron": "ug/L"}, name="pills"
    )
    own = PerSim.fit(given, method="als", degree=1, ensemble_size=2, progress=False)
    made = read_transitions(drawn(own, agents=["a", "c"]))
    for name in ("obs_names", "action_names", "action_labels", "obs_units", "bounds"):
        assert getattr(made, name) == getattr(given, name)
    again = PerSim.fit(made, method="als", degree=1, ensemble_size=2, progress=False)
    assert again.task.observation_space.low[0] == 0


def test_a_data_set_that_is_there_is_not_replaced(sim: PerSim) -> None:
    drawn(sim)
    with pytest.raises(ValueError, match="exists already"):
        drawn(sim, overwrite=False)
