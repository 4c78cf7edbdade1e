"""Presets of networks: the paper's to the letter, and one for a task of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.envs import find_suite
from persim_gym.learned import PRESETS
from persim_gym.learned.presets import preset_config


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("mountain-car", {"rank": 3, "batch_size": 512, "state_hidden": (256,)}),
        ("cartpole", {"rank": 5, "batch_size": 64, "state_hidden": (256,)}),
        (
            "half-cheetah",
            {
                "rank": 15,
                "batch_size": 1024,
                "state_hidden": (512, 512, 512, 512),
                "action_hidden": (512, 512),
                "normalise_inputs": True,
                "normalise_targets": True,
            },
        ),
    ],
)
def test_preset_of_the_paper(task: str, expected: dict[str, Any]) -> None:
    config = preset_config("paper", task)
    shared = {
        "ensemble_size": 5,
        "spare_members": 0,
        "lag": 1,
        "activation": "relu",
        "epochs": 300,
        "learning_rate": 1e-3,
        "schedule": "halving",
        "halve_every": 150,
        "validation_fraction": 0.0,
        "skip_clipped": False,
    }
    if task != "half-cheetah":
        shared |= {"normalise_inputs": False, "normalise_targets": False}
    for name, value in (shared | expected).items():
        assert getattr(config, name) == value, name


def test_presets_are_of_the_three_tasks() -> None:
    assert set(PRESETS) == {"default", "paper"}
    for preset in PRESETS.values():
        assert set(preset) == {"mountain-car", "cartpole", "half-cheetah"}
        for name, config in preset.items():
            assert find_suite(name).name == name
            # Paper: the ranks and the size of the ensemble are the method's, not a matter of speed.
            # In the joint form a rank is another thing: how many ways agents differ in.
            if config.encoder == "product":
                assert config.rank == PRESETS["paper"][name].rank
            assert config.ensemble_size == 5


def test_a_task_of_ones_own_has_a_preset_that_knows_no_scale() -> None:
    config = preset_config("default", "plain")
    assert config.normalise_inputs
    assert config.normalise_targets
    with pytest.raises(ValueError, match=r"paper has no task 'plain'.*mountain-car, cartpole"):
        preset_config("paper", "plain")


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="unknown preset 'quick': there are default, paper"):
        preset_config("quick", "plain")
