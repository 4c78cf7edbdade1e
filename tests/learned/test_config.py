"""The configuration of a fit: what is refused, and the presets."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from persim_gym.baselines.cloning import CloningConfig
from persim_gym.baselines.config import BCQConfig
from persim_gym.baselines.sfbc.config import SfBCConfig
from persim_gym.experiments.trained_inside import InsideConfig
from persim_gym.learned import Networks, PerSim
from persim_gym.learned.config import Hierarchical, Latent
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask

OPTIONS = [field.name for field in dataclasses.fields(Networks)]


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
    ("action_hidden", "64"),
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


@pytest.mark.parametrize(
    ("config", "name"),
    [(Networks, "action_hidden"), (Latent, "hidden"), (CloningConfig, "hidden"),
     (BCQConfig, "hidden"), (SfBCConfig, "widths"), (InsideConfig, "hidden")],
)  # fmt: skip
def test_widths_of_layers_are_checked_alike(config: Any, name: str) -> None:
    assert getattr(config(**{name: [4, np.int64(3)]}), name) == (4, 3)
    for wrong in (8, "8", (0,), (True,), (2.5,), [[4]]):
        with pytest.raises(ValueError, match=f"{name} must be a list of .*positive integers, got"):
            config(**{name: wrong})


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


@pytest.mark.parametrize("config", [Hierarchical, Latent])
@pytest.mark.parametrize("seen", [(0,), (-1,), ("a",), 3, (1.5,)])
def test_columns_that_are_seen_are_checked(config: Any, seen: Any) -> None:
    with pytest.raises(ValueError, match="seen must be a list of positive integers"):
        config(seen=seen)
    with pytest.raises(ValueError, match=r"seen must name each column once, got \(2, 3, 2\)"):
        config(seen=(2, 3, 2), lag=3)
    with pytest.raises(ValueError, match=r"lag=1 has no past: leave seen out, or set lag"):
        config(seen=(2,))
    made = config(seen=[4, 7], lag=3)
    assert made.seen == (4, 7)
    assert config.from_json(made.to_json()) == made
