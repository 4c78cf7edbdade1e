"""Who acts where predictions are judged: policies that made no data."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Discrete

from persim_gym.core import Task
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.policies.paper_behaviours import TestPolicy
from persim_gym.policies.scripted import scripted_policy

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
