"""Prediction error (Section 5.2): open loop, under two families of policies that made no data."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Discrete

from persim_gym.core import Task
from persim_gym.envs.suites import SUITES, coordinate_names
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.recordings import population_of
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.policies.paper_behaviours import TestPolicy
from persim_gym.policies.scripted import scripted_policy
from persim_gym.progress import OnProgress

#: Original: DQN test policies act at random in one step of a hundred.
TEST_EPSILON = 0.01


def paper_policy(task: Task, seed: int = 0) -> Any:
    """The paper's: trained on the default agent, whose recordings are not among the data."""
    policy = TestPolicy(task)
    if not isinstance(task.action_space, Discrete):
        return policy
    return EpsilonMixture(policy, TEST_EPSILON, action_space=task.action_space, seed=seed)


def policy_families(task: Task, seed: int = 0) -> dict[str, Any]:
    """The paper's test policy, and scripted controllers that nothing was ever tuned on."""
    return {"test-policy": paper_policy(task, seed), "scripted": scripted_policy(task.name, seed)}


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
