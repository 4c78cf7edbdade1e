"""All data sets in one call: which there are, what is skipped, what is refused, how far it is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest

from persim_gym.core import Task
from persim_gym.offline import EpsilonMixture, FunctionPolicy, collection, recorder
from persim_gym.offline.collection import Recorded, dataset_id, prepare_all
from persim_gym.offline.datasets import CARD, load
from persim_gym.offline.provenance import content_hash
from persim_gym.policies.behaviours import as_policy

TASKS = ("mountain-car", "cartpole", "half-cheetah")
BEHAVIOURS = ("pure", "pure-eps-20", "pure-eps-40", "random")
TWELVE = sorted(f"persim/{task}/{behaviour}-v0" for task in TASKS for behaviour in BEHAVIOURS)


def scripted(policy: Any, task: Task) -> Any:
    """Behaviours of the names that ship, from a rule of a line each."""
    if not isinstance(policy, str) or not policy.startswith("pure"):
        return as_policy(policy, task)

    def pure(obs: np.ndarray) -> np.ndarray:
        if task.name == "half-cheetah":
            return np.tanh(obs[:, 3:9])
        return (obs[:, 1] > 0).astype(np.int64) * (2 if task.name == "mountain-car" else 1)

    rule = FunctionPolicy(pure)
    if policy == "pure":
        return rule
    return EpsilonMixture(
        rule, float(policy.rpartition("-")[2]) / 100, action_space=task.action_space
    )


@pytest.fixture(autouse=True)
def _behaviours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "as_policy", scripted)


def record_all(*args: Any, **kwargs: Any) -> list[Recorded]:
    small = {"agents": 3, "max_episode_steps": 8, "progress": False}
    return collection.record_all(*args, **{**small, **kwargs})


def hashes() -> dict[str, str]:
    return {name: content_hash(load(name)) for name in minari.list_local_datasets()}


def check_replay(dataset: minari.MinariDataset) -> None:
    env = dataset.recover_environment()
    about = dataset.storage.get_episode_metadata(dataset.episode_indices)
    for metadata, episode in zip(about, dataset, strict=True):
        obs, info = env.reset(seed=metadata["seed"], options=metadata["options"])
        assert info["agent"] == metadata["options"]["agent"]
        assert obs.tobytes() == episode.observations[0].tobytes()
        for step, action in enumerate(episode.actions):
            obs, reward, terminated, truncated, _ = env.step(action)
            assert obs.tobytes() == episode.observations[step + 1].tobytes()
            assert (reward, terminated, truncated) == (
                episode.rewards[step], episode.terminations[step], episode.truncations[step],
            )  # fmt: skip
        assert terminated or truncated
    env.close()


# -- which there are -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_twelve() -> None:
    results = record_all()
    assert sorted(result.dataset_id for result in results) == TWELVE
    assert sorted(minari.list_local_datasets()) == TWELVE
    assert not any(result.was_there for result in results)
    assert all(result.seconds > 0 for result in results)
    assert len(set(hashes().values())) == 12
    for name in TWELVE:
        dataset = load(name)
        _, task, behaviour = name.split("/")
        card = dataset.storage.metadata[CARD]
        assert (card["task"], f"{card['behaviour']}-v0") == (task, behaviour)
        assert card["command"] == (
            f"persim-gym record {task} --behaviour {card['behaviour']} --agents 3 --seed 0 "
            "--max-steps 8"
        )
        check_replay(dataset)


def test_each_is_what_a_recording_of_its_own_gives() -> None:
    record_all(tasks=["cartpole"], seed=3)
    together = hashes()
    for behaviour in BEHAVIOURS:
        recorder.record(
            "cartpole", behaviour, agents=3, max_episode_steps=8, seed=3, overwrite=True,
            progress=False,
        )  # fmt: skip
    assert hashes() == together


def test_some_tasks_and_behaviours() -> None:
    results = record_all(["PerSim-CartPole-v0", "cartpole"], ["random", "pure", "random"])
    assert [r.dataset_id for r in results] == [
        "persim/cartpole/random-v0",
        "persim/cartpole/pure-v0",
    ]


@pytest.mark.parametrize(
    ("options", "count"),
    [({"agents": 2}, 2), ({"agents": [4, 9]}, 2), ({"episodes": 2}, 6), ({"population": 3}, 3)],
)
def test_options_reach_every_data_set(options: dict[str, Any], count: int) -> None:
    record_all(["cartpole", "mountain-car"], ["random"], namespace="small/one", **options)
    for task in ("cartpole", "mountain-car"):
        dataset = load(f"small/one/{task}/random-v0")
        assert len(dataset) == count
        kwargs = dataset.env_spec.kwargs.get("population")
        assert kwargs == ({"size": 3, "seed": 0} if "population" in options else None)


def test_a_few_agents_are_the_first_of_five_hundred() -> None:
    record_all(["cartpole"], ["pure-eps-20"], agents=9)
    record_all(["cartpole"], ["pure-eps-20"], agents=4, namespace="small")
    large, small = (
        load(dataset_id("cartpole", "pure-eps-20")),
        load("small/cartpole/pure-eps-20-v0"),
    )
    for episode, first in zip(small, large, strict=False):
        np.testing.assert_array_equal(episode.observations, first.observations)
        np.testing.assert_array_equal(episode.actions, first.actions)
    people = small.recover_environment().unwrapped.dynamics.population
    assert len(people) == 500
    assert people.values[:4].tolist() == [[2.0, 0.5], [10.0, 0.5], [18.0, 0.5], [10.0, 0.85]]


# -- what is there already -------------------------------------------------------------------------


def test_those_that_are_there_are_left_alone(root: Path) -> None:
    record_all(["cartpole"], ["random", "pure"])
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.hdf5")}
    results = record_all(["cartpole"])
    assert {r.dataset_id for r in results if r.was_there} == {
        "persim/cartpole/random-v0", "persim/cartpole/pure-v0",
    }  # fmt: skip
    assert len(results) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    again = record_all(["cartpole"], overwrite=True)
    assert not any(result.was_there for result in again)
    assert all(path.stat().st_mtime_ns != stamp for path, stamp in stamps.items())


KILLED = """
import os, signal
from persim_gym.offline.collection import record_all

def kill(done, total):
    if done > 0.6 * total:
        os.kill(os.getpid(), signal.SIGKILL)

record_all(behaviours=["random"], agents=3, max_episode_steps=50, on_progress=kill)
"""


@pytest.mark.slow
def test_after_a_kill_the_rest_is_recorded(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = hashes()
    assert 0 < len(kept) < 3
    results = record_all(behaviours=["random"], max_episode_steps=50)
    assert {r.dataset_id for r in results if r.was_there} == set(kept)
    whole = hashes()
    assert len(whole) == 3
    assert kept.items() <= whole.items()
    record_all(behaviours=["random"], max_episode_steps=50, overwrite=True)
    assert hashes() == whole


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agents": 4}, "with agents 0-2 instead of 0-3"),
        ({"agents": [0, 1, 7]}, "with agents 0-2 instead of 0-1,7"),
        ({"seed": 1}, "with seed 0 instead of 1"),
        ({"episodes": 2}, "with episodes 1 instead of 2"),
        ({"max_episode_steps": 9}, "with max_episode_steps 8 instead of 9"),
        ({"population": 7}, "with population"),
        ({"population": {"ranges": {"force": [5, 6]}}}, "with population"),
    ],
)
def test_one_with_other_options_is_never_taken_for_it(changes: Any, words: str) -> None:
    record_all(["cartpole"], ["random"])
    before = hashes()
    with pytest.raises(ValueError, match=f"random-v0' exists already, {words}.*--force") as caught:
        record_all(["cartpole"], **changes)
    assert "namespace" in str(caught.value)
    assert hashes() == before
    record_all(["cartpole"], ["random"], overwrite=True, **changes)
    assert [r.was_there for r in record_all(["cartpole"], ["random"], **changes)] == [True]


# -- what is refused before any work ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ["cartpole", "chess"]}, "unknown task 'chess'"),
        ({"behaviours": ["random", "clever"]}, "unknown behaviour 'clever'"),
        ({"tasks": []}, "at least one task"),
        ({"behaviours": []}, "at least one"),
        ({"agents": 0}, "at least 1"),
        ({"agents": [500]}, "agent 500 does not exist"),
        ({"population": {"ranges": {"force": [1, 2]}}}, "unknown covariate 'force'"),
        ({"namespace": "with space"}, "no id of a data set"),
        ({"data_format": "csv"}, "format must be hdf5|csv"),
    ],
)
def test_bad_input_anywhere_records_nothing(changes: Any, words: str, root: Path) -> None:
    with pytest.raises(ValueError, match=words):
        record_all(**changes)
    assert not any(root.iterdir())


def test_a_behaviour_that_cannot_be_read_records_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of twelve: what is asked of a named behaviour first is asked before all work."""

    class Broken:
        name = "pure"

        def predict(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError

        def begin_episodes(self, batch: Any) -> Any:
            raise ValueError("the weights are missing")

    def broken(policy: Any, task: Task) -> Any:
        return (
            Broken() if (policy, task.name) == ("pure", "half-cheetah") else scripted(policy, task)
        )

    monkeypatch.setattr(recorder, "as_policy", broken)
    with pytest.raises(ValueError, match="weights are missing"):
        record_all()
    assert not any(root.iterdir())


def test_prepare_all_does_no_work(root: Path) -> None:
    recordings = prepare_all(agents=500)
    assert len(recordings) == 12
    assert {r.recipe["agents"] for r in recordings} == {"0-499"}
    assert sum(recording.steps for recording in recordings) == 4 * 500 * (500 + 200 + 1000)
    assert not any(root.iterdir())


# -- progress --------------------------------------------------------------------------------------


def test_progress_is_of_the_whole() -> None:
    told: list[tuple[int, int]] = []
    finished: list[Recorded] = []
    record_all(["cartpole"], ["pure"])
    results = record_all(
        ["cartpole", "mountain-car"], ["pure", "random"], on_progress=lambda *now: told.append(now),
        on_recorded=finished.append,
    )  # fmt: skip
    assert finished == results
    assert len({total for _, total in told}) == 1
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert done[-1] == told[0][1]  # what was there already is no part of it


def test_a_bar_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    record_all(["cartpole"], ["random"], progress=True)
    shown = capsys.readouterr()
    assert "1/1 persim/cartpole/random-v0" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""
    record_all(["cartpole"], ["pure"], progress=None)
    assert capsys.readouterr() == ("", "")


def test_half_cheetah_is_expected_to_take_longest() -> None:
    costs = {r.dataset_id: collection._cost(r) for r in prepare_all(agents=500)}
    assert costs["persim/half-cheetah/random-v0"] > 10 * costs["persim/cartpole/random-v0"]
    assert costs["persim/cartpole/pure-v0"] > costs["persim/cartpole/random-v0"]
