"""The data of a demo: found where they fit, else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.demo.settings import DemoSettings
from persim_gym.demo.stages import Demo, transitions_of
from persim_gym.envs.suites import find_suite
from persim_gym.offline import record
from persim_gym.offline.transitions import Transitions
from tests.demo.small import TINY

pytestmark = pytest.mark.slow


def data_of(settings: DemoSettings, seed: int = 0) -> Transitions:
    """The transitions that a demo would fit on."""
    return transitions_of(Demo(find_suite("cartpole"), Path("out"), False, seed, settings))


def test_the_papers_recording_serves_smaller_demos(root: Path) -> None:
    record("cartpole", agents=14, seed=0, dataset_id="persim/cartpole/random-v0", progress=False)
    data = data_of(TINY)
    assert data.dataset_id == "persim/cartpole/random-v0"
    assert data.num_agents == 10
    assert set(data.agent.tolist()) == set(range(10))
    assert data.population == {"size": 10, "seed": 0}


def test_data_that_were_made_otherwise_are_left_alone(root: Path) -> None:
    others: dict[str, dict[str, Any]] = {
        "another seed": {"seed": 1},
        "too few agents": {"agents": 9},
        "two episodes": {"episodes": 2},
        "another time limit": {"max_episode_steps": 5},
        "another population": {"population": {"seed": 3}},
        "other agents": {"agents": range(3, 20)},
        "another behaviour": {"policy": lambda obs: np.zeros(len(obs), dtype=np.int64)},
    }
    expected = None
    for why, change in others.items():
        record(
            "cartpole", **{"agents": 12, **change}, dataset_id="persim/cartpole/random-v0",
            overwrite=True, progress=False,
        )  # fmt: skip
        data = data_of(TINY)
        assert data.dataset_id == "persim/cartpole/random-10-agents-seed-0-v0", why
        expected = expected or data.sha256()
        assert data.sha256() == expected


def test_a_data_set_that_is_not_what_its_name_says_is_refused(root: Path) -> None:
    own = "persim/cartpole/random-10-agents-seed-0-v0"
    record("cartpole", agents=9, dataset_id=own, progress=False)
    with pytest.raises(ValueError, match="not what its name says"):
        data_of(TINY)
