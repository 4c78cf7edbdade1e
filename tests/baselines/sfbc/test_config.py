"""Configurations of SfBC."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.baselines import SfBC
from persim_gym.baselines.sfbc import SfBCConfig
from tests.baselines.sfbc.worlds import TWO_WAYS, two_ways


@pytest.mark.parametrize(
    ("option", "value"),
    [("updates", 0), ("widths", ()), ("rounds", -1), ("average", 99), ("discount", 1.0),
     ("steps", 0), ("sharpness", float("nan")), ("learning_rate", -1.0)],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        SfBC.fit(two_ways(30), task=TWO_WAYS, **{option: value})


def test_the_papers_settings_are_those_of_the_paper() -> None:
    paper = SfBCConfig.paper()
    assert (paper.widths, paper.steps, paper.candidates) == ((512, 256, 128), 15, 32)
    assert SfBCConfig.from_json(paper.to_json()) == paper
