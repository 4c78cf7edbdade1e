"""Configurations of CaDM and MOReL."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.baselines.model_config import (
    CADM_PAPER,
    MOREL_PAPER,
    VANILLA,
    CaDMConfig,
    MOReLConfig,
)


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (CaDMConfig, {"particles": 7}, "multiple of ensemble_size=5"),
        (CaDMConfig, {"planner": "magic"}, "planner"),
        (CaDMConfig, {"context": -1}, "context"),
        (CaDMConfig, {"hidden": (0,)}, "hidden"),
        (CaDMConfig, {"encoder": "wide"}, "encoder"),
        (CaDMConfig, {"validation": 1.0}, "validation must be .*less than 1"),
        (MOReLConfig, {"ensemble_size": 1}, "ensemble_size"),
        (MOReLConfig, {"pessimism": 0.0}, "pessimism must be above 0"),
        (MOReLConfig, {"discount": 1.0}, "give a penalty"),
        (MOReLConfig, {"lanes": 0}, "lanes"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(kind: Any, options: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        kind().replaced(options)


def test_rewards_that_are_not_discounted_have_a_penalty_that_was_given() -> None:
    assert MOReLConfig(discount=1.0, penalty=3.0).penalty == 3.0


def test_the_settings_of_the_authors_are_there() -> None:
    config = CaDMConfig().replaced(CADM_PAPER)
    assert (config.encoder, config.hidden) == ((256, 128, 64), (200, 200, 200, 200))
    assert (config.ensemble_size, config.particles, config.tempering) == (5, 20, 0.0)
    assert CaDMConfig().replaced(VANILLA).particles == 1
    other = MOReLConfig().replaced(MOREL_PAPER)
    assert (other.ensemble_size, other.hidden) == (4, (512, 512))
