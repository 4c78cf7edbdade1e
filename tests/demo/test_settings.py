"""How much of everything a demo does."""

from __future__ import annotations

import dataclasses

import pytest

from persim_gym.demo.settings import demo_settings
from tests.demo.small import TINY


def test_settings_of_the_three_tasks() -> None:
    for task in ("cartpole", "mountain-car", "half-cheetah"):
        full, quick = demo_settings(task), demo_settings(task, quick=True)
        assert full.agents == 500
        assert quick.agents < 500
        assert quick.episodes < full.episodes
        assert quick.train_steps < full.train_steps
    assert demo_settings("PerSim-CartPole-v0") == demo_settings("cartpole")
    with pytest.raises(ValueError, match="unknown task"):
        demo_settings("walker")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agents": 9}, "agents must be at least 10"),
        ({"plan_steps": 0}, "plan_steps must be at least 1"),
        ({"train_agent": 5}, "train_agent must be a test agent"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)
