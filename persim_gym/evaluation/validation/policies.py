"""A policy's value as a part of a validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.evaluation.off_policy import off_policy
from persim_gym.evaluation.off_policy.target_policy import Decider, behaviour_probability
from persim_gym.evaluation.off_policy.value import task_with
from persim_gym.learned.outcomes.given_reward import Reward
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions


@dataclass(frozen=True, slots=True)
class AskedPolicy:
    """Which policy's value is asked for; see :func:`~persim_gym.evaluation.off_policy.off_policy`.

    Attributes:
        policy: The policy.
        reward: The reward.
        steps: Over how many steps.
        behaviour: How likely the recorded actions were.
        seed: Of what is drawn.
    """

    policy: Any
    reward: Reward | None
    steps: int | None
    behaviour: Any
    seed: int

    def check(self, task: Task | None, data: Transitions) -> None:
        """Refuse what is invalid, before any work.

        Raises:
            TypeError: If something has the wrong type.
            ValueError: If something is invalid.
        """
        if self.steps is not None:
            checks.integer("steps", self.steps, 1)
        if task is None:
            return
        task = task_with(task, self.reward)
        Decider(self.policy, task, data)
        behaviour_probability(self.behaviour, task, data)


def policy_value(
    sim: PerSim | None,
    data: Transitions,
    refit: Callable[[Transitions], PerSim],
    asked: AskedPolicy,
) -> Mapping[str, Any]:
    """The value in plain types; where data allow none, ``failed`` says why.

    Args:
        sim: The simulator; without one the data are fitted.
        data: What was recorded.
        refit: Fits a simulator.
        asked: The policy.
    """
    try:
        found = off_policy(
            sim or refit(data),
            data,
            asked.policy,
            steps=asked.steps,
            reward=asked.reward,
            behaviour=asked.behaviour,
            seed=asked.seed,
        )
    except (ValueError, FloatingPointError) as error:
        return {"failed": str(error), "sentences": [f"The policy has no value: {error}"]}
    return found.to_json()
