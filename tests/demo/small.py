"""A demo that is done in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from persim_gym.demo.run import StageEvent, run_demo
from persim_gym.demo.settings import DemoSettings

#: A demo's page, its events, and its progress.
Finished = tuple[Path, list[StageEvent], list[tuple[str, int, int]]]

TINY = DemoSettings(
    agents=10,
    fit={"epochs": 2, "ensemble_size": 2, "spare_members": 0, "state_hidden": [8]},
    episodes=2,
    return_episodes=2,
    plan_episodes=1,
    plan_steps=6,
    planner={"candidates": 4, "horizon": 3},
    train_steps=40,
    clip_steps=3,
)


def tiny(out: Path, seed: int = 0, **options: Any) -> tuple[Path, list[StageEvent]]:
    events: list[StageEvent] = []
    page = run_demo("cartpole", out, seed=seed, settings=TINY, on_stage=events.append, **options)
    return page, events
