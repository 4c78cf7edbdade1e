"""The order of a fit's blocks, and what a killed fit goes on from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.spaces import Box

from persim_gym.baselines import SfBC
from persim_gym.baselines.sfbc import SfBCConfig, optimise
from persim_gym.baselines.sfbc.learner import SfBCLearner
from tests.baselines.sfbc.worlds import TINY, two_ways
from tests.baselines.small import Killed


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 7))
def test_a_killed_fit_goes_on_where_it_was(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every stage: in the behaviour model, its samples, and both rounds of the critic."""
    monkeypatch.setattr(optimise, "UPDATES", 5)
    data = two_ways(60)

    def kill(done: int, total: int) -> None:
        assert total == 2 + 1 + 2 * 2
        if done == at:
            raise Killed

    whole = SfBC.fit(data, **TINY)
    options: dict[str, Any] = {**TINY, "checkpoint": tmp_path, "save_every": 0.0}
    with pytest.raises(Killed):
        SfBC.fit(data, on_progress=kill, **options)
    calls: list[int] = []
    resumed = SfBC.fit(data, on_progress=lambda done, total: calls.append(done), **options)
    assert calls[0] in (at, at + 1)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert resumed.card["facts"] == whole.card["facts"]


def test_without_rounds_there_is_nothing_to_sample_for() -> None:
    space, cpu = Box(-2.0, 2.0, (1,)), torch.device("cpu")
    config = SfBCConfig(updates=25, critic_updates=10, rounds=2, widths=(8, 4), planned=2)
    data = two_ways(60)
    whole = SfBCLearner(data, space, config, 0, cpu)
    assert whole.blocks == 3 + 1 + 2
    assert whole.samples.shape == (120, 2, 1), "states, and the last one of each episode"
    clone = SfBCLearner(data, space, dataclasses.replace(config, rounds=0), 0, cpu)
    assert clone.blocks == 3
    assert {name.partition(".")[0] for name in clone.learned()} == {"behaviour"}
    assert {name.partition(".")[0] for name in whole.learned()} == {"behaviour", "critic"}


def test_a_critic_learns_returns_in_units_of_their_own() -> None:
    """Each episode is one step, worth 0 or 4: that is its return."""
    config = SfBCConfig(rounds=1, widths=(8, 4), planned=2)
    data = two_ways(60, worth=4.0)
    learner = SfBCLearner(data, Box(-2.0, 2.0, (1,)), config, 0, torch.device("cpu"))
    found = learner.centre + learner.deviation * learner.targets
    assert found.tolist() == pytest.approx(data.reward.tolist(), abs=1e-5)
    assert float(learner.targets.mean()) == pytest.approx(0, abs=1e-5)
    assert float(learner.targets.std(correction=0)) == pytest.approx(1, abs=1e-5)
