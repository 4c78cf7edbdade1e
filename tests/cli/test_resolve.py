"""What a command line names: simulators, populations, agents and policies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import pytest

from persim_gym.cli import resolve
from persim_gym.envs.suites import find_suite
from persim_gym.learned import PerSim
from persim_gym.learned.naming import AgentNames
from persim_gym.offline.reading import read_transitions
from tests.cli.commands import refuse, run
from tests.learned.worlds import random_simulator

pytestmark = pytest.mark.usefixtures("shared_store")


@pytest.mark.slow
def test_a_trained_policy_is_recorded_and_rendered(
    policy: str, simulator: str, tmp_path: Path
) -> None:
    text = run("record", "cartpole", "--behaviour", policy, "--agents", "2").stdout
    assert text.startswith("persim/cartpole/dqn-v0\n")
    args = ["record", "cartpole", "--behaviour", policy, "--agents", "2", "--epsilon", "0.2"]
    assert run(*args).stdout.startswith("persim/cartpole/dqn-eps-20-v0\n")
    refuse("record", "mountain-car", "--behaviour", policy, says="acts in another task")
    refuse("record", "cartpole", "--behaviour", str(tmp_path), says="there is no policy at")
    out = str(tmp_path / "video.gif")
    run("render", simulator, "--agent", "1", "--out", out, "--steps", "2", "--policy", policy)
    assert len(imageio.mimread(out)) == 3


def test_population_of_a_simulator_is_its_data_sets(simulator: str) -> None:
    assert resolve.population_of(PerSim.load(simulator)) == {"size": 8, "seed": 3}


def test_population_of_a_simulator_of_the_first_agents_alone(dataset: str) -> None:
    data = read_transitions(dataset)
    first = dataclasses.replace(data.select(data.agent < 5), num_agents=5)
    sim = PerSim.fit(first, ensemble_size=1, epochs=1)
    assert resolve.population_of(sim) == {"size": 8, "seed": 3}


def test_population_is_not_guessed_when_the_data_set_has_changed(
    simulator: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "data"))
    sim = PerSim.load(simulator)
    assert resolve.population_of(sim) == {"size": 8, "seed": 3}  # its own card says so
    sim.card["dataset"]["population"] = None
    simulator = str(sim.save(tmp_path / "simulator"))
    note = run("evaluate", simulator, "--agents", "0", "--episodes", "1", "--json").stderr
    assert note.startswith(f"note: data set '{dataset}' is not on this machine")
    run("record", "cartpole", "--agents", "6", "--dataset-id", dataset)
    refuse("evaluate", simulator, says="has been recorded anew")


def test_a_list_names_agents_by_name_or_index() -> None:
    names = AgentNames(tuple(str(k) for k in range(1, 7)), 6)  # one more than their index
    assert resolve.choose_agents("6,index:0-2,name:5", names) == [5, 0, 1, 2, 4]
    with pytest.raises(ValueError, match="could be"):
        resolve.choose_agents("0-2", names)
    plain = AgentNames(("a-b", "c, d", "e"), 3)
    assert resolve.choose_agents("c, d", plain) == [1]
    assert resolve.choose_agents("e,a-b", plain) == [2, 0]
    assert resolve.choose_agents("1-2,a-b", plain) == [1, 2, 0]
    assert resolve.choose_agents("index:1,0", AgentNames((), 3)) == [1, 0]


def test_agents_that_were_added_are_of_no_known_truth() -> None:
    suite = find_suite("cartpole")
    sim = random_simulator(suite.task(), agents=4)
    sim.card["adapted"] = {"3": {}}
    assert resolve.find_agents("3", sim, None) == [3]
    with pytest.raises(ValueError, match="agent 3 was added to the simulator by adapt"):
        resolve.find_agents("1,3", sim, suite)
    assert resolve.find_agent("499", None, suite) == 499
    with pytest.raises(ValueError, match="one agent here, got '0-1'"):
        resolve.find_agent("0-1", sim, suite)


def test_a_model_is_a_task_or_a_folder(
    walks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = find_suite("cartpole")
    assert resolve.open_model("cartpole") == (suite, None)
    assert resolve.open_model(suite.env_id) == (suite, None)
    random_simulator(suite.task()).save("sim")
    found, sim = resolve.open_model("sim")
    assert found is suite
    assert sim is not None
    assert resolve.open_model(str(walks))[0] is None
    with pytest.raises(FileNotFoundError, match="did you mean 'cartpole'"):
        resolve.open_model("cartpol")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="persim-gym fit makes one"):
        resolve.open_model("empty")


def test_frames_are_reported_as_they_come() -> None:
    told: list[tuple[int, int]] = []
    frames: Any = ["a", "b"]
    assert list(resolve.counted(frames, 5, lambda *now: told.append(now))) == ["a", "b"]
    assert told == [(1, 5), (2, 5)]
