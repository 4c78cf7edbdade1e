"""Simulators on disk: bit-equal round trips, no pickle, and every damage refused with a reason."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import persim_gym.store as store
from persim_gym.core import Task
from persim_gym.envs import find_suite
from persim_gym.learned import PerSim
from tests.learned.worlds import PlainTask, random_simulator, random_walks, weights

TASKS: dict[str, Task] = {
    "discrete": PlainTask.of(2, actions=3),
    "bounded": PlainTask.of(4, actions=2, low=-1.0),
    "continuous": PlainTask.of(18, action_dim=6),
}


def cartpole(**options: Any) -> PerSim:
    """A simulator of a task that the package knows."""
    return random_simulator(find_suite("cartpole").task(), agents=5, size=0.01, **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file."""
    cartpole().save(tmp_path)
    return tmp_path / store.SIMULATOR


def header(file: Path) -> dict[str, Any]:
    with safe_open(str(file), framework="pt") as opened:
        return json.loads(opened.metadata()[store.FORMAT])


def rewrite(file: Path, **changes: Any) -> None:
    """The same file by another hand: another card, with a checksum that fits."""
    with safe_open(str(file), framework="pt") as opened:
        card = json.loads(opened.metadata()[store.FORMAT])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    card.pop("sha256")
    for key, value in changes.items():
        if value is None:
            del card[key]
        else:
            card[key] = value
    card["sha256"] = store._digest(tensors, card)
    save_file(tensors, file, metadata={store.FORMAT: json.dumps(card, sort_keys=True)})


# -- round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_loaded_simulator_predicts_the_same_bits(task: Task, lag: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"state_hidden": (33, 16), "action_hidden": (5,), "rank": 3}
    data = random_walks(task)
    sim = PerSim.fit(data, task=task, lag=lag, epochs=2, ensemble_size=3, **options)
    sim.save(tmp_path / "run")
    loaded = PerSim.load(tmp_path / "run", task=task)
    assert torch.equal(weights(sim), weights(loaded))
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 17, 100):  # small products take other ways through the matrix library
        rows = rng.choice(len(data), n, replace=False)
        given = data.agent[rows], data.obs[rows], data.action[rows]
        for ask in ("predict", "predict_members", "disagreement"):
            mine, theirs = getattr(sim, ask)(*given), getattr(loaded, ask)(*given)
            np.testing.assert_array_equal(mine, theirs, err_msg=f"{ask} of {n}")
        actions = data.action[rng.integers(len(data), size=(n, 4))]
        np.testing.assert_array_equal(
            sim.rollout(*given[:2], actions), loaded.rollout(*given[:2], actions)
        )
    for name in ("low", "high", "change_scale", "starts"):
        left, right = getattr(sim.experience, name), getattr(loaded.experience, name)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    assert loaded.experience.disagreement_limit == sim.experience.disagreement_limit < np.inf
    expected = copy.deepcopy(sim.card)
    del expected["metrics"]["seconds"]  # no file says how long a fit took
    for key, value in expected.items():
        assert loaded.card[key] == value


def test_the_task_is_found_by_its_name(tmp_path: Path) -> None:
    sim = cartpole()
    assert sim.save(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    loaded = PerSim.load(str(tmp_path / "a" / "b"))
    assert loaded.task.name == "cartpole"
    assert loaded.task.max_episode_steps == 200
    assert loaded.path == tmp_path / "a" / "b"
    # No ensemble of one disagrees, and no limit is infinity, which JSON does not know.
    assert loaded.experience.disagreement_limit == np.inf
    by_file = PerSim.load(tmp_path / "a" / "b" / store.SIMULATOR)
    assert torch.equal(weights(by_file), weights(sim))


def test_a_task_of_ones_own_must_be_given(tmp_path: Path) -> None:
    random_simulator(TASKS["discrete"]).save(tmp_path)
    with pytest.raises(ValueError, match="unknown task 'plain'"):
        PerSim.load(tmp_path)
    assert PerSim.load(tmp_path, task=TASKS["discrete"]).task is TASKS["discrete"]


def test_saving_again_and_again(tmp_path: Path) -> None:
    sim = cartpole()
    sim.save(tmp_path / "one")
    loaded = PerSim.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    one, two = (tmp_path / name / store.SIMULATOR for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    loaded.save(tmp_path / "one")  # over itself
    assert torch.equal(weights(PerSim.load(tmp_path / "one")), weights(sim))


def test_the_card_is_repeated_for_people(tmp_path: Path) -> None:
    sim = PerSim.fit(
        random_walks(TASKS["discrete"]), task=TASKS["discrete"], epochs=1, out=tmp_path
    )
    card = json.loads((tmp_path / "simulator.json").read_text())
    assert card["config"] == sim.card["config"]
    assert card["metrics"] == {k: v for k, v in sim.card["metrics"].items() if k != "seconds"}
    assert card["shape"]["num_agents"] == 4
    assert card["dataset"]["sha256"] == random_walks(TASKS["discrete"]).sha256()
    (tmp_path / "simulator.json").write_text("nothing reads this")
    PerSim.load(tmp_path, task=TASKS["discrete"])


def test_no_pickle_is_written_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poison(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, poison)
    monkeypatch.setattr(torch, "load", poison)
    monkeypatch.setattr(torch, "save", poison)
    task = TASKS["discrete"]
    sim = PerSim.fit(
        random_walks(task), task=task, epochs=2, ensemble_size=2, out=tmp_path, save_every=0
    )
    loaded = PerSim.load(tmp_path, task=task)
    assert torch.equal(weights(sim), weights(loaded))


@pytest.mark.slow
def test_a_fresh_process_makes_an_environment(tmp_path: Path) -> None:
    sim = cartpole()
    sim.save(tmp_path)
    code = (
        "import sys, json, gymnasium as gym, persim_gym\n"
        "assert 'torch' not in sys.modules\n"
        "env = gym.make('PerSim-Learned-v0', simulator=sys.argv[1], agent=3)\n"
        "obs, info = env.reset(seed=4)\n"
        "print(json.dumps([int(info['agent']), env.step(1)[0].tolist(), obs.tolist()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    agent, following, obs = json.loads(done.stdout)
    assert agent == 3
    expected = sim.predict(3, np.array([obs], dtype=np.float32), np.array([1]))[0]
    np.testing.assert_allclose(following, expected, rtol=1e-5, atol=1e-6)


# -- damage ----------------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "none" / store.SIMULATOR):
        with pytest.raises(FileNotFoundError, match="there is no simulator at"):
            PerSim.load(path)


def test_truncated(file: Path) -> None:
    content = file.read_bytes()
    n = len(content)
    header_length = int.from_bytes(content[:8], "little")
    lengths = [0, 1, 7, 8, 9, header_length // 2, header_length + 7, header_length + 8]
    for length in [*lengths, n // 2, n - 4, n - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"no whole safetensors file.*truncated"):
            PerSim.load(file)
    file.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="no whole safetensors file"):
        PerSim.load(file)
    file.write_bytes(content)
    PerSim.load(file)


def test_a_flipped_bit_in_the_data_is_noticed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for place in [begin, len(content) - 1, *rng.integers(begin, len(content), 10).tolist()]:
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(ValueError, match="was altered after it was written"):
            PerSim.load(file)
        content[place] ^= 1


@pytest.mark.slow
def test_a_flipped_bit_in_the_header_is_noticed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    reasons = set()
    for place in range(0, end, 3):
        bit = 1 << (place // 3 % 8)
        content[place] ^= bit
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"no whole|altered|version|holds a|not one") as caught:
            PerSim.load(file)
        reasons.add(str(caught.value).replace(str(file), "").split("(")[0][:30])
        content[place] ^= bit
    assert len(reasons) > 3


def test_a_foreign_file(file: Path) -> None:
    for metadata in (None, {"format": "pt"}, {store.FORMAT: "{]"}, {store.FORMAT: "{}"}):
        save_file({"weight": torch.zeros(3)}, file, metadata=metadata)
        with pytest.raises(ValueError, match="not one that persim_gym has written"):
            PerSim.load(file)
    file.write_text("hello")
    with pytest.raises(ValueError, match="no whole safetensors file"):
        PerSim.load(file)


@pytest.mark.parametrize("card", ["[]", "3", '"persim_gym"', "null"])
def test_a_foreign_card(file: Path, card: str) -> None:
    save_file({"weight": torch.zeros(3)}, file, metadata={store.FORMAT: card})
    with pytest.raises(ValueError, match="not one that persim_gym has written"):
        PerSim.load(file)


def test_a_newer_format(file: Path) -> None:
    assert header(file)["version"] == store.VERSION
    rewrite(file, version=store.VERSION + 1)
    with pytest.raises(
        ValueError, match=rf"format version {store.VERSION + 1}.*upgrade persim_gym"
    ):
        PerSim.load(file)


@pytest.mark.parametrize("version", ["2", None, 1.5])
def test_a_version_that_is_none(file: Path, version: Any) -> None:
    rewrite(file, version=version)
    with pytest.raises(ValueError, match="version"):
        PerSim.load(file)


def test_a_checkpoint_is_no_simulator(file: Path) -> None:
    store.write(file, "checkpoint", {"parameters": torch.zeros(3)}, {"epoch": 3})
    with pytest.raises(ValueError, match="holds a checkpoint, not a simulator"):
        PerSim.load(file)


@pytest.mark.parametrize("key", ["shape", "task", "disagreement_limit"])
def test_a_card_that_lacks_something(file: Path, key: str) -> None:
    rewrite(file, **{key: None})
    with pytest.raises(ValueError, match=f"lacks what a simulator needs: '{key}'"):
        PerSim.load(file)


def test_a_file_that_lacks_a_tensor(file: Path) -> None:
    with safe_open(str(file), framework="pt") as opened:
        card = json.loads(opened.metadata()[store.FORMAT])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    del card["sha256"]
    for name in ("network.head.bias", "scaling.low", "experience.high"):
        some = {key: tensor for key, tensor in tensors.items() if key != name}
        store.write(file, "simulator", some, card)
        with pytest.raises(ValueError, match="lacks what a simulator needs") as caught:
            PerSim.load(file)
        assert name.partition(".")[2] in str(caught.value)
    store.write(file, "simulator", {**tensors, "extra": torch.zeros(1)}, card)
    with pytest.raises(ValueError, match="'extra'"):
        PerSim.load(file)


# -- writing ---------------------------------------------------------------------------------------


def test_a_failure_while_writing_keeps_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()
    names = sorted(os.listdir(file.parent))

    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(b"half a fi")
        raise OSError("no space left on device")

    def interrupted(source: Any, target: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match=r"cannot write .*no space left.*make room"):
            cartpole(seed=1).save(file.parent)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cartpole(seed=1).save(file.parent)
    assert file.read_bytes() == before
    assert sorted(os.listdir(file.parent)) == names, "something was left behind"
    cartpole(seed=1).save(file.parent)
    assert file.read_bytes() != before


def test_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    cartpole().save(tmp_path)
    (tmp_path / "other").touch()
    modes = [(tmp_path / name).stat().st_mode for name in (store.SIMULATOR, "other")]
    assert modes[0] == modes[1]


def test_a_loaded_simulator_outlives_its_file(tmp_path: Path) -> None:
    cartpole().save(tmp_path)
    sim = PerSim.load(tmp_path)
    before = weights(sim).clone()
    with open(tmp_path / store.SIMULATOR, "r+b") as file:  # in place, not replaced
        file.write(b"\xff" * (tmp_path / store.SIMULATOR).stat().st_size)
    assert torch.equal(weights(sim), before)
