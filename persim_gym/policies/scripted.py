"""Scripted policies: behaviour that made no data, to judge simulators on.

The paper judges on action sequences of policies that took no part in the recording. A script needs
no training, acts differently from uniform random actions, and reaches states that these do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import find_suite
from persim_gym.envs.tasks.facts import Rule
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.rollout import Chooser, EpisodeBatch

#: Probability of a uniform random action, so that episodes differ and no loop is closed for good.
EPSILON = 0.1

#: Numbers that are drawn once an episode and give it a style of its own.
STYLE = 2


@dataclass(frozen=True, slots=True)
class Script:
    """A fixed rule of observation, time and the episode's style, as a policy.

    Attributes:
        name: A name for data sets.
        rule: What it does.
        seed: Seed of the styles in :meth:`predict`; in a batch of episodes each has its own.
    """

    name: str
    rule: Rule
    seed: int = 0

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]`` (or one for ``[d]``), and the clock.

        The state ``[n, 3]`` is the time since the start of each row's episode, and its style;
        without one all episodes begin now.
        """
        obs = np.asarray(observation)
        rows = np.atleast_2d(obs)
        n = len(rows)
        begun = self._begin(n) if state is None else np.array(state, dtype=np.float64)
        if state is not None and episode_start is not None:
            start = np.broadcast_to(np.asarray(episode_start, dtype=np.bool_), n)
            begun[start, 0] = 0
        actions = self.rule(rows, begun[:, 0], begun[:, 1:])
        begun[:, 0] += 1
        return (actions if obs.ndim > 1 else actions[0]), begun

    def _begin(self, n: int) -> NDArray[np.float64]:
        style = np.random.default_rng(self.seed).random((n, STYLE))
        return np.concatenate([np.zeros((n, 1)), style], axis=1)

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Each episode in a style from its own generator."""
        styles = np.stack([rng.random(STYLE) for rng in batch.generators()])

        def choose(step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]) -> NDArray[Any]:
            return self.rule(obs, np.full(len(lanes), float(step)), styles[lanes])

        return choose


def scripted_policy(task_name: str, seed: int = 0) -> EpsilonMixture:
    """A policy that made no data, with a tenth of its actions uniform random.

    What it does is the task's :class:`~persim_gym.envs.tasks.facts.Controller`.

    Args:
        task_name: Task name or environment id.
        seed: Seed of ``predict``; evaluations have seeds of their own.

    Raises:
        ValueError: If there is no such task.
    """
    suite = find_suite(task_name)
    script = Script(suite.controller.name, suite.controller.rule, seed)
    return EpsilonMixture(script, EPSILON, action_space=suite.task().action_space, seed=seed)
