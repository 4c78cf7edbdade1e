"""No call of this package draws from a global generator, or leaves one as it has seeded it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import persim_gym  # noqa: F401 - registers environments
from persim_gym.learned import PerSim
from persim_gym.offline import record
from persim_gym.planning import MPC
from persim_gym.policies import shipped
from persim_gym.training import load_policy, save_policy, train_in_simulator
from tests.random_states import states


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def shipped_policies(_: Path) -> None:
    shipped._read.cache_clear()  # else another test has loaded them
    record("cartpole", "pure", agents=2, progress=False)


def fits(_: Path) -> None:
    data = record("mountain-car", agents=3, max_episode_steps=40, progress=False)
    PerSim.fit(data, method="als", degree=2, rank=2, progress=False).adapt()
    PerSim.fit(data, method="sgd", epochs=1, ensemble_size=2, progress=False)


def plans_and_trains(out: Path) -> None:
    data = record("cartpole", agents=3, max_episode_steps=40, progress=False)
    sim = PerSim.fit(data, method="als", degree=1, rank=2, progress=False)
    env = sim.env(agent=0, max_episode_steps=5)
    obs, _ = env.reset(seed=0)
    MPC(sim, seed=0).plan([0], obs[None])
    sim.vector_env(2, agents=0).reset(seed=0)
    model = train_in_simulator(sim, 0, 300, seed=0)
    save_policy(model, out)
    load_policy(out).predict(obs)


def environments(_: Path) -> None:
    for name in ("CartPole", "MountainCar", "HalfCheetah"):
        env = gym.make(f"PerSim-{name}-v0")
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.close()


CALLS = (shipped_policies, fits, plans_and_trains, environments)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_global_generators_stay_where_they_are(
    call: Callable[[Path], None], tmp_path: Path, restored: None
) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = states()
    call(tmp_path / "policy")
    assert states() == before


@pytest.fixture
def restored() -> Iterator[None]:
    """The states of before: tests depend on none."""
    from persim_gym.policies.randomness import global_randomness_kept

    with global_randomness_kept():
        yield


FRESH = """
import random
from persim_gym.envs import find_suite
from persim_gym.training import train_in_simulator
from tests.learned.worlds import random_simulator
sim = random_simulator(find_suite("cartpole").task())
before = random.getstate()
train_in_simulator(sim, 0, 1, seed=0)
assert random.getstate() == before
"""


@pytest.mark.slow
def test_libraries_that_draw_when_they_are_imported_do_not_matter() -> None:
    """Here another test has imported them, so that it takes a process of its own."""
    subprocess.run([sys.executable, "-c", FRESH], check=True)
