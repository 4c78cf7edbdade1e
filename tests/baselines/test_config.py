"""Configurations of BCQ and CQL."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.baselines.config import BCQConfig, CQLConfig
from tests.learned.worlds import PlainTask

DISCRETE, CONTINUOUS = PlainTask.of(2, actions=3), PlainTask.of(2, action_dim=1)


@pytest.mark.parametrize("kind", [BCQConfig, CQLConfig])
def test_what_is_left_open_is_settled_by_the_actions_of_a_task(kind: Any) -> None:
    for task, own in ((DISCRETE, kind.DISCRETE), (CONTINUOUS, kind.CONTINUOUS)):
        settled = kind().settled(task)
        assert {name: getattr(settled, name) for name in own} == own
        assert kind.from_json(settled.to_json()) == settled
        assert kind(batch_size=7, hidden=(3,)).settled(task).batch_size == 7
        assert kind(batch_size=7, hidden=(3,)).settled(task).hidden == (3,)
    assert kind().settled(DISCRETE) != kind().settled(CONTINUOUS)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (BCQConfig, "updates", 0),
        (BCQConfig, "batch_size", 0),
        (BCQConfig, "threshold", 1.5),
        (BCQConfig, "logits_penalty", -1.0),
        (BCQConfig, "hidden", (0,)),
        (CQLConfig, "discount", -0.1),
        (CQLConfig, "weight", -1.0),
        (CQLConfig, "quantiles", 1),
        (CQLConfig, "entropy_in_target", "yes"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(kind: Any, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        kind(**{name: value})
