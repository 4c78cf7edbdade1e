"""Simulators by their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from persim_gym.learned.env import as_simulator
from persim_gym.learned.environments.shells import LearnedSimEnv
from persim_gym.learned.loading import as_dynamics, parts_in
from persim_gym.learned.simulator import PerSim
from tests.contract.worlds import LEARNED_ID
from tests.learned.worlds import random_simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from persim_gym.envs.suites import find_suite

    task = find_suite("cartpole").task()
    return random_simulator(task).save(tmp_path_factory.mktemp("loading") / "sim")


def test_a_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parts_in(folder)
    assert parts_in(str(folder)) is parts
    monkeypatch.chdir(folder.parent)
    assert parts_in("sim") is parts
    assert as_simulator(folder).ensemble is as_dynamics(folder).ensemble is parts.ensemble
    simulator = as_simulator(folder)
    assert as_dynamics(simulator) is as_simulator(simulator) is simulator


def test_an_environment_takes_a_folder(folder: Path) -> None:
    env = LearnedSimEnv(folder, 1)
    assert env.reset(seed=0)[0] == pytest.approx(as_simulator(folder).env(1).reset(seed=0)[0])


@pytest.mark.parametrize("wrong", [3, None, ["sim"]])
@pytest.mark.parametrize("read", [as_dynamics, as_simulator, LearnedSimEnv])
def test_what_is_no_folder_is_refused(read: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match="simulator must be"):
        read(wrong)


@pytest.mark.parametrize("read", [as_dynamics, as_simulator, LearnedSimEnv])
def test_a_folder_without_a_simulator_is_refused(read: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path)


def test_a_file_is_read_again_only_if_it_has_changed(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    PerSim.load(folder).save(copied)
    first = as_simulator(copied)
    assert as_simulator(str(copied)).ensemble is first.ensemble
    other = PerSim.load(folder)
    other.ensemble.network.tensors["head.bias"] += 1
    other.save(copied)
    again = as_simulator(copied)
    assert again.ensemble is not first.ensemble
    assert not torch.equal(
        again.ensemble.network.tensors["head.bias"], first.ensemble.network.tensors["head.bias"]
    )


def test_without_a_simulator_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no simulator at"):
        gym.make(LEARNED_ID, simulator=str(tmp_path / "nothing"))
    with pytest.raises(TypeError, match="simulator must be a PerSim or the folder of one, got 3"):
        gym.make(LEARNED_ID, simulator=3)
