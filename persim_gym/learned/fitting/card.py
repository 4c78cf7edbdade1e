"""What a simulator's card says of how it came about."""

from __future__ import annotations

import math
from typing import Any

from persim_gym.core import Task
from persim_gym.learned.fitting.families import Fitted
from persim_gym.learned.fitting.plan import FitPlan
from persim_gym.learned.outcomes.data_task import DataTask, outcomes_sha256
from persim_gym.offline.transitions import Transitions


def dataset_of(transitions: Transitions) -> dict[str, Any]:
    """Which data a fit is of, as plain types."""
    return {
        "id": transitions.dataset_id,
        "sha256": transitions.sha256(),
        "transitions": len(transitions),
        "agents": transitions.num_agents,
        "population": transitions.population,
    }


def recipe_of(plan: FitPlan, preset: str, task: Task, transitions: Transitions) -> dict[str, Any]:
    """All that decides a fit, as plain types: a checkpoint of another recipe is refused."""
    recipe: dict[str, Any] = {
        "method": plan.method,
        "config": plan.to_json(),
        "preset": preset,
        "task": task.name,
        "dataset": dataset_of(transitions),
    }
    if isinstance(task, DataTask):  # then rewards and ends decide something, too
        recipe["dataset"]["outcomes_sha256"] = outcomes_sha256(transitions)
    return recipe


def card_of(fitted: Fitted, task: Task, transitions: Transitions) -> dict[str, Any]:
    """What came of it, and what things are called, as plain types."""
    names = transitions.agent_names, transitions.obs_names, transitions.action_names
    metrics, source = fitted.metrics, dict(transitions.source or {})
    if notes := source.pop("notes", []):
        metrics = {**metrics, "notes": [*notes, *metrics.get("notes", ())]}
    card: dict[str, Any] = {
        "fitted_by": fitted.method,
        "metrics": metrics,
        "agent_names": names[0] and list(names[0]),
        "obs_names": names[1] and list(names[1]),
        "action_names": names[2] and list(names[2]),
    }
    for key in ("obs_units", "action_units"):
        if units := getattr(transitions, key):
            card[key] = list(units)
    if transitions.bounds:
        card["bounds"] = [
            [column, *(end if math.isfinite(end) else None for end in ends)]
            for column, *ends in transitions.bounds
        ]
    if source:
        card["source"] = source
    if isinstance(task, DataTask):
        card["data_task"] = task.to_json()
    return card
