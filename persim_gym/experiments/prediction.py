"""Prediction error (Section 5.2): open loop, under two families of policies that made no data."""

from __future__ import annotations

from typing import Any

from persim_gym.envs.suites import SUITES, coordinate_names
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.experiments.methods import Context, Model
from persim_gym.experiments.probe_policies import policy_families
from persim_gym.experiments.recordings import population_of
from persim_gym.progress import OnProgress


def judge(context: Context, model: Model, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Open-loop error under two families of policies that made no data."""
    cell = context.cell
    suite = SUITES[cell.task]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    assert model.predictor is not None
    families = policy_families(task, cell.seed)
    found: dict[str, Any] = {}
    for i, (name, policy) in enumerate(families.items()):
        followed = follow(task, true, cell.agents, policy, episodes=cell.episodes, seed=cell.seed)
        error = open_loop_error(model.predictor, followed, traces=1)
        found[name] = error.to_json()["agents"]
        if on_progress is not None:
            on_progress(i + 1, len(families))
    names = coordinate_names(task.name, task.observation_space.shape[0])
    return {"coordinates": list(names), "families": found}
