"""The recorder: data sets that replay exactly, nest, and appear whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.cli import app
from minari.dataset._storages.hdf5_storage import HDF5Storage
from minari.namespace import create_namespace, list_local_namespaces
from typer.testing import CliRunner

from persim_gym.envs.populations import Population
from persim_gym.envs.suites import SUITES, find_suite
from persim_gym.offline import EpsilonMixture, FunctionPolicy, publishing, recorder
from persim_gym.offline import record as record_quietly
from persim_gym.offline.datasets import load
from tests.offline.worlds import check_replay, episodes, record

TASKS = tuple(SUITES)
RANDOM_ID = "persim/cartpole/random-v0"


def content(dataset: minari.MinariDataset) -> dict[tuple[int, int], tuple[Any, ...]]:
    """What each (agent, its how manyth episode) holds, as bytes."""
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for metadata, episode in episodes(dataset):
        agent, index = int(metadata["options"]["agent"]), 0
        while (agent, index) in found:
            index += 1
        arrays = (
            episode.observations,
            episode.actions,
            episode.rewards,
            episode.terminations,
            episode.truncations,
        )
        found[agent, index] = (metadata["seed"], *(array.tobytes() for array in arrays))
    return found


# -- replay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "agents", "steps"),
    [("mountain-car", [0, 4, 499], 120), ("cartpole", 6, None), ("half-cheetah", [1, 300], 40)],
)
def test_recordings_replay_exactly(task: str, agents: Any, steps: int | None) -> None:
    dataset = record(task, agents=agents, episodes=2, max_episode_steps=steps)
    assert dataset.total_episodes == 2 * (agents if isinstance(agents, int) else len(agents))
    check_replay(dataset)


@pytest.mark.parametrize(
    "population",
    [
        {"size": 7, "seed": 5},
        {"ranges": {"force": (1.0, 30.0), "length": (0.1, 2.0)}},
        {"covariates": {"force": [3.3, 17.0, 9.1]}},
        12,
    ],
    ids=str,
)
def test_recordings_of_other_populations_replay_exactly(population: Any) -> None:
    dataset = record("cartpole", agents=3, population=population, max_episode_steps=40)
    expected = find_suite("cartpole").population(population)
    assert dataset.env_spec.kwargs["population"] == json.loads(json.dumps(expected.to_json()))
    env = dataset.recover_environment()
    assert env.unwrapped.dynamics.population == expected
    check_replay(dataset)


def test_a_population_object_replays_exactly() -> None:
    own = Population(("mass", "damping"), np.array([[0.5, 0.7], [1.1, 1.3]]))
    check_replay(record("half-cheetah", agents=2, population=own, max_episode_steps=10))


@pytest.mark.slow
def test_a_population_grows_with_the_number_of_agents() -> None:
    dataset = record("mountain-car", agents=502, max_episode_steps=3)
    assert dataset.env_spec.kwargs["population"] == {"size": 502, "seed": 0}
    check_replay(dataset)
    seeded = record(
        "mountain-car", agents=502, population={"seed": 4}, max_episode_steps=1, dataset_id="a-v0"
    )
    assert seeded.env_spec.kwargs["population"] == {"size": 502, "seed": 4}


def test_the_default_population_is_not_spelled_out() -> None:
    for given in (None, 500, {"seed": 0}):
        dataset = record("cartpole", agents=2, population=given, overwrite=True)
        assert "population" not in dataset.env_spec.kwargs


def test_continuous_actions_are_recorded_as_executed() -> None:
    wild = FunctionPolicy(lambda obs: np.tile([1e300, -7, 0.1, 0.5, -1, 1], (len(obs), 1)))
    dataset = record("half-cheetah", wild, agents=2, max_episode_steps=12)
    for _, episode in episodes(dataset):
        assert episode.actions.dtype == np.float32
        np.testing.assert_array_equal(
            episode.actions, np.tile(np.float32([1, -1, 0.1, 0.5, -1, 1]), (12, 1))
        )
    check_replay(dataset)


def test_other_formats_of_minari_hold_the_same() -> None:
    pytest.importorskip("pyarrow")
    plain = record("cartpole", agents=3)
    arrow = record(
        "cartpole", agents=3, data_format="parquet", dataset_id="persim/cartpole/arrow-v0"
    )
    assert arrow.storage.metadata["data_format"] == "parquet"
    assert content(arrow) == content(plain)
    check_replay(arrow)


# -- on what an episode depends --------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", ["random", EpsilonMixture(lambda obs: np.ones(len(obs), int), 0.4)]
)
def test_a_smaller_recording_is_the_beginning_of_a_larger_one(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = record("cartpole", policy, agents=7, episodes=3, dataset_id="large-v0")
    monkeypatch.setattr(recorder, "LANES", 2)
    small = record("cartpole", policy, agents=3, episodes=2, dataset_id="small-v0")
    picked = record("cartpole", policy, agents=[5, 2], dataset_id="picked-v0")
    whole = content(large)
    assert len(set(whole.values())) == 21
    for part in (content(small), content(picked)):
        assert part == {key: whole[key] for key in part}
    assert [m["options"]["agent"] for m, _ in episodes(small)] == [0, 0, 1, 1, 2, 2]
    assert [m["options"]["agent"] for m, _ in episodes(picked)] == [5, 2]


@pytest.mark.parametrize("task", ["mountain-car", "half-cheetah"])
def test_batching_changes_nothing(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(record(task, agents=5, max_episode_steps=30, dataset_id="whole-v0"))
    monkeypatch.setattr(recorder, "TRANSITIONS", 60)
    calls: list[int] = []
    original = HDF5Storage.update_episodes

    def counting(self: Any, buffers: Any) -> None:
        calls.append(len(buffers))
        original(self, buffers)

    monkeypatch.setattr(HDF5Storage, "update_episodes", counting)
    assert content(record(task, agents=5, max_episode_steps=30)) == whole
    assert calls == [2, 2, 1]


def test_the_seed_decides_and_global_random_state_is_untouched() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = (
        content(record("cartpole", agents=4, seed=seed, overwrite=True)) for seed in (1, 1, 2)
    )
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_episodes_start_in_different_states() -> None:
    dataset = record("cartpole", agents=3, episodes=4)
    assert len({metadata["seed"] for metadata, _ in episodes(dataset)}) == 12
    assert len({episode.observations[0].tobytes() for _, episode in episodes(dataset)}) == 12


# -- what is written -------------------------------------------------------------------------------


def test_metadata_say_where_the_data_come_from() -> None:
    dataset = record("PerSim-HalfCheetah-v0", agents=2, max_episode_steps=2, seed=9)
    assert dataset.id == "persim/half-cheetah/random-v0"
    metadata = dataset.storage.metadata
    assert metadata["algorithm_name"] == "random"
    assert metadata["author"] == {"persim_gym"}
    assert "2 agents that differ in mass and damping" in metadata["description"]
    names = [requirement.split("=")[0].rstrip(">") for requirement in metadata["requirements"]]
    assert names == ["persim-gym", "gymnasium", "minari", "mujoco"]
    card = metadata["persim_gym"]
    assert (card["task"], card["behaviour"], card["seed"]) == ("half-cheetah", "random", 9)
    assert card["population"] == {"size": 500, "seed": 0}
    assert dataset.env_spec.id == "PerSim-HalfCheetah-v0"
    assert not any(
        "mujoco" in r for r in record("cartpole", agents=1).storage.metadata["requirements"]
    )


@pytest.mark.parametrize(
    ("task", "name"), [("mountain-car", "mountain-car"), ("PerSim-CartPole-v0", "cartpole")]
)
def test_default_ids(task: str, name: str) -> None:
    assert record(task, agents=1, max_episode_steps=1).id == f"persim/{name}/random-v0"
    mixed = EpsilonMixture(FunctionPolicy(lambda obs: np.zeros(len(obs), int), name="pure"), 0.2)
    assert record(task, mixed, agents=1, max_episode_steps=1).id == f"persim/{name}/pure-eps-20-v0"


def test_minaris_own_commands_see_it() -> None:
    record("cartpole", agents=2)
    record("cartpole", agents=2, dataset_id="persim/cartpole/other-v1")
    assert {"persim", "persim/cartpole"} <= set(list_local_namespaces())
    listed = CliRunner().invoke(app, ["list", "local"], env={"COLUMNS": "200"})
    shown = CliRunner().invoke(app, ["show", RANDOM_ID], env={"COLUMNS": "200"})
    assert listed.exit_code == shown.exit_code == 0
    assert RANDOM_ID in listed.stdout
    assert "persim/cartpole/other-v1" in listed.stdout
    assert "PerSim-CartPole-v0" in shown.stdout


def test_a_namespace_that_exists_is_kept() -> None:
    create_namespace("persim/cartpole", description="mine")
    record("cartpole", agents=1)
    assert minari.namespace.get_namespace_metadata("persim/cartpole") == {"description": "mine"}


def test_an_id_without_namespace() -> None:
    assert record("cartpole", agents=1, dataset_id="mine-v3").id == "mine-v3"
    assert list(minari.list_local_datasets()) == ["mine-v3"]


# -- whole or not at all ---------------------------------------------------------------------------


def breaking(at: int) -> FunctionPolicy:
    calls = iter(range(10_000))

    def act(obs: np.ndarray) -> np.ndarray:
        if next(calls) == at:
            raise RuntimeError("the policy broke")
        return np.zeros(len(obs), dtype=int)

    return FunctionPolicy(act, name="random")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_recording_that_fails_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LANES", 1)  # the first episode is written before it fails
    with pytest.raises(RuntimeError, match="broke"):
        record("cartpole", breaking(at=30), agents=9)
    assert files(root) == []


def test_a_recording_that_is_interrupted_leaves_nothing(root: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record("cartpole", agents=2, on_progress=interrupt)
    assert files(root) == []


def failing_write(monkeypatch: pytest.MonkeyPatch) -> None:
    original = HDF5Storage.update_episodes

    def update(self: HDF5Storage, buffers: Any) -> None:
        original(self, buffers[:1])
        raise OSError("no space left on device")

    monkeypatch.setattr(HDF5Storage, "update_episodes", update)


def failing_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.rename

    def rename(self: Path, target: Any) -> Path:
        if self.name.endswith(".partial"):
            raise OSError("no space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(publishing, "exchange", lambda one, other: False)


@pytest.mark.parametrize("failing", [failing_write, failing_rename])
@pytest.mark.parametrize("old", [False, True])
def test_a_failure_while_writing_leaves_things_as_they_were(
    root: Path, monkeypatch: pytest.MonkeyPatch, failing: Any, old: bool
) -> None:
    before = content(record("cartpole", agents=3)) if old else {}
    listed = [name for name in files(root) if "namespace_metadata" not in name]
    failing(monkeypatch)
    with pytest.raises(OSError, match="no space"):
        record("cartpole", agents=2, seed=1, overwrite=True)
    monkeypatch.undo()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert list(minari.list_local_datasets()) == ([RANDOM_ID] if old else [])
    if old:
        assert content(load(RANDOM_ID)) == before
        assert [name for name in files(root) if "namespace_metadata" not in name] == listed
    assert not list(root.rglob("*.partial"))


def test_a_policy_that_fails_leaves_the_old_data_set_whole(root: Path) -> None:
    before, listed = content(record("cartpole", agents=3)), files(root)
    with pytest.raises(RuntimeError, match="broke"):
        record("cartpole", breaking(at=5), agents=2, overwrite=True)
    assert content(load(RANDOM_ID)) == before
    assert files(root) == listed


KILLED = """
import os, sys
import numpy as np
from persim_gym.offline import FunctionPolicy, record, recorder

recorder.LANES = 1
calls = iter(range(10_000))


def act(obs):
    if next(calls) == 30:
        os._exit(9)
    return np.zeros(len(obs), dtype=int)


record("cartpole", FunctionPolicy(act, name="random"), agents=9, overwrite=True)
"""


@pytest.mark.slow
def test_a_recording_that_is_killed_shows_nothing_and_damages_nothing(root: Path) -> None:
    def kill() -> None:
        done = subprocess.run([sys.executable, "-c", KILLED], check=False)
        assert done.returncode == 9

    kill()
    assert list(root.rglob("*.partial"))  # what it wrote is there, where nobody looks
    assert minari.list_local_datasets() == {}
    before = content(record("cartpole", agents=3))
    kill()
    assert list(minari.list_local_datasets()) == [RANDOM_ID]
    assert content(load(RANDOM_ID)) == before
    # The next recording of the data set takes the remains away: nobody holds them.
    assert len(list(root.rglob("*.partial"))) == 1
    assert content(record("cartpole", agents=3, overwrite=True)) == before
    assert not list(root.rglob("*.partial"))


@pytest.mark.parametrize("new_is_there", [False, True])
def test_a_replacement_that_was_killed_half_way_is_finished(root: Path, new_is_there: bool) -> None:
    old = content(record("cartpole", agents=3))
    place = root / "persim" / "cartpole" / "random-v0"
    place.rename(place.with_name(".random-v0.old"))
    expected = old
    if new_is_there:
        other = record("cartpole", agents=2, seed=1, dataset_id="other-v0")
        expected = content(other)
        (root / "other-v0").rename(place)
    assert content(load(RANDOM_ID)) == expected
    assert not list(root.rglob("*.old"))


def test_a_recording_sees_the_data_set_that_a_kill_left_aside(root: Path) -> None:
    old = content(record("cartpole", agents=3))
    place = root / "persim" / "cartpole" / "random-v0"
    place.rename(place.with_name(".random-v0.old"))
    with pytest.raises(ValueError, match="exists already"):
        record("cartpole", agents=2)
    assert content(load(RANDOM_ID)) == old


def test_a_data_set_that_exists_is_not_replaced_unasked() -> None:
    before = content(record("cartpole", agents=3))

    def never(obs: Any) -> Any:
        raise AssertionError("no work before the check")

    with pytest.raises(ValueError, match="overwrite=True"):
        record("cartpole", never, agents=2, dataset_id=RANDOM_ID)
    assert content(load(RANDOM_ID)) == before
    after = content(record("cartpole", agents=2, seed=1, overwrite=True))
    assert content(load(RANDOM_ID)) == after
    assert after != before


def test_a_data_set_that_appears_meanwhile_is_not_replaced(root: Path) -> None:
    """Written by another library, that is: of this one's processes one at a time writes an id."""
    rival: dict[str, Any] = {}

    def act(obs: Any) -> Any:
        if not rival:
            rival.update(content=content(record("cartpole", agents=2, dataset_id="other-v0")))
            (root / "other-v0").rename(root / "same-v0")
        return np.zeros(len(obs), dtype=int)

    with pytest.raises(ValueError, match="exists already"):
        record("cartpole", act, agents=1, dataset_id="same-v0")
    assert content(load("same-v0")) == rival["content"]


def test_a_folder_that_is_no_data_set_is_never_replaced(root: Path) -> None:
    mine = root / "persim" / "cartpole" / "random-v0" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match="left alone"):
        record("cartpole", agents=1, overwrite=True)
    assert mine.read_text() == "mine"


# -- progress --------------------------------------------------------------------------------------


def test_progress_is_told_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LANES", 2)
    told: list[tuple[int, int]] = []
    dataset = record("cartpole", agents=3, on_progress=lambda *now: told.append(now))
    done = [now[0] for now in told]
    assert {now[1] for now in told} == {600}
    assert done == sorted(done)
    assert done[-1] == 600
    longest = [len(episode) for _, episode in episodes(dataset)]
    assert len(told) == max(longest[:2]) + longest[2]


def test_a_bar_is_shown_on_request_and_not_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record_quietly("cartpole", agents=2)
    assert capsys.readouterr() == ("", "")
    told: list[int] = []
    record_quietly(
        "cartpole", agents=2, overwrite=True, progress=True, on_progress=lambda d, t: told.append(d)
    )
    shown = capsys.readouterr()
    assert "record cartpole" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""
    assert told


# -- policies --------------------------------------------------------------------------------------


def test_a_model_of_stable_baselines3_is_a_policy() -> None:
    from stable_baselines3 import DQN

    model = DQN("MlpPolicy", gym.make("PerSim-CartPole-v0"), seed=0, device="cpu")
    dataset = record("cartpole", model, agents=3)
    assert dataset.id == "persim/cartpole/dqn-v0"
    for _, episode in episodes(dataset):
        chosen, _ = model.predict(episode.observations[:-1], deterministic=True)
        np.testing.assert_array_equal(episode.actions, chosen)
    check_replay(dataset)


def test_deterministic_is_passed_on() -> None:
    asked = set()

    class Model:
        def predict(self, observation: Any, deterministic: bool, **kwargs: Any) -> Any:
            asked.add(deterministic)
            return np.zeros(len(observation), dtype=int), None

    record("cartpole", Model(), agents=1)
    assert asked == {True}
    record("cartpole", Model(), agents=1, deterministic=False, overwrite=True)
    assert asked == {True, False}


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"env_id": "CartPole-v1"}, ValueError, "unknown task 'CartPole-v1'.*cartpole"),
        ({"env_id": 3}, TypeError, "environment id"),
        ({"policy": "expert"}, ValueError, "unknown behaviour"),
        ({"agents": 0}, ValueError, "agents must be at least 1"),
        ({"agents": True}, TypeError, "agents must be"),
        ({"agents": 2.5}, TypeError, "got 2.5"),
        ({"agents": "3"}, TypeError, "got '3'"),
        ({"agents": []}, ValueError, "at least one agent"),
        ({"agents": [[0, 1]]}, ValueError, "one dimension"),
        ({"agents": [0, 500]}, ValueError, "agent 500 does not exist"),
        ({"agents": [-1]}, ValueError, "agent -1 does not exist"),
        ({"agents": [0.5]}, TypeError, "integers"),
        ({"agents": [3, 1, 3]}, ValueError, "agent 3 is named 2 times.*episodes="),
        ({"agents": 9, "population": 8}, ValueError, "9 agents.*has 8"),
        ({"episodes": 0}, ValueError, "episodes must be at least 1, got 0"),
        ({"episodes": 1.0}, TypeError, "episodes must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": None}, TypeError, "seed must be an integer"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps must be at least 1"),
        (
            {"population": {"ranges": {"gravity": (1, 2)}}},
            ValueError,
            "unknown covariate 'gravity'",
        ),
        ({"dataset_id": "no version"}, ValueError, "persim/cartpole/random-v0"),
        ({"dataset_id": "persim/cartpole/random"}, ValueError, "a version"),
        ({"dataset_id": "persim/../random-v0"}, ValueError, "no id of a data set"),
        ({"dataset_id": "persim/data/random-v0"}, ValueError, "'data'"),
        ({"dataset_id": "persim//own/random-v0"}, ValueError, "empty"),
        ({"dataset_id": 5}, TypeError, "string"),
        ({"data_format": "csv"}, ValueError, "csv"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    changes: dict[str, Any], error: type[Exception], words: str, root: Path
) -> None:
    def never(obs: Any) -> Any:
        raise AssertionError("no work before the check")

    arguments = {"env_id": "cartpole", "policy": never, "agents": 2, **changes}
    with pytest.raises(error, match=words):
        record(**arguments)
    assert files(root) == []


def test_no_data_set_inside_another() -> None:
    record("cartpole", agents=1)
    with pytest.raises(ValueError, match="inside a data set"):
        record("cartpole", agents=1, dataset_id=f"{RANDOM_ID}/more-v0")


def test_agents_may_be_any_sequence() -> None:
    for given in (range(3, 5), (3, 4), np.array([3, 4])):
        dataset = record("cartpole", agents=given, max_episode_steps=1, overwrite=True)
        assert [int(m["options"]["agent"]) for m, _ in episodes(dataset)] == [3, 4]
    assert len(record("cartpole", agents=np.int64(2), max_episode_steps=1, overwrite=True)) == 2


def test_importing_the_room_is_light() -> None:
    code = (
        "import sys, persim_gym.offline; "
        "print([m for m in ('torch', 'mujoco', 'pygame') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
