"""The configuration of a fit: what is refused, and the presets."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from persim_gym.envs import find_suite
from persim_gym.learned import PRESETS, Networks, PerSim
from persim_gym.learned.config import preset_config
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_walks

OPTIONS = [field.name for field in dataclasses.fields(Networks)]


@pytest.fixture(scope="module")
def walks() -> Transitions:
    return random_walks(PlainTask.of(2, actions=3))


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


def test_unknown_preset(walks: Transitions) -> None:
    with pytest.raises(ValueError, match="unknown preset 'quick': there are default, paper"):
        PerSim.fit(walks, task=PlainTask.of(2, actions=3), preset="quick")


def test_unknown_option_lists_the_options(walks: Transitions) -> None:
    with pytest.raises(ValueError, match="unknown option 'ranks'") as caught:
        PerSim.fit(walks, task=PlainTask.of(2, actions=3), ranks=3)
    for name in OPTIONS:
        assert name in str(caught.value)


INVALID = [
    *[(name, value) for name in ("rank", "ensemble_size", "lag", "batch_size", "epochs")
      for value in (0, -1, 2.5, True, "3", None)],
    ("halve_every", 0),
    ("spare_members", -1),
    ("spare_members", 1.0),
    ("spare_members", True),
    ("state_hidden", ()),
    ("state_hidden", (0,)),
    ("state_hidden", (64, -1)),
    ("state_hidden", (64.0,)),
    ("state_hidden", 64),
    ("action_hidden", (0,)),
    ("activation", "tanh"),
    ("activation", None),
    ("encoder", "sum"),
    ("encoder", True),
    ("precision", "half"),
    ("angles", (2,)),
    ("skip", 1),
    ("hold", "range"),
    ("schedule", "cosine"),
    ("learning_rate", 0.0),
    ("learning_rate", -1e-3),
    ("learning_rate", math.nan),
    ("learning_rate", math.inf),
    ("learning_rate", "fast"),
    ("validation_fraction", -0.1),
    ("validation_fraction", 0.6),
    ("validation_fraction", math.nan),
    ("validation_fraction", "none"),
    ("normalise_inputs", "no"),
    ("normalise_targets", 1),
    ("centre_targets", 0),
    ("skip_clipped", None),
    ("seed", -1),
    ("seed", 0.5),
    ("seed", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        Networks(**{name: value})
    assert repr(value) in str(caught.value)


def test_every_option_is_checked() -> None:
    assert {name for name, _ in INVALID} == set(OPTIONS)


def test_json_round_trip() -> None:
    config = Networks(rank=3, state_hidden=(7, 8), action_hidden=(), activation="silu", seed=9)
    plain = json.loads(json.dumps(config.to_json()))
    assert set(plain) == set(OPTIONS)
    assert Networks.from_json(plain) == config
    with pytest.raises(ValueError, match="unknown option 'depth'"):
        Networks.from_json({**plain, "depth": 3})


def test_replacing_leaves_the_original() -> None:
    config = Networks()
    changed = config.replaced({"rank": 9, "state_hidden": [4, 4]})
    assert (changed.rank, changed.state_hidden) == (9, (4, 4))
    assert config == Networks()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.rank = 2  # type: ignore[misc]
