"""The paper's behaviours: each agent acted by the policy of the nearest training agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.envs.populations import Population
from persim_gym.envs.suites import SUITES, find_suite
from persim_gym.policies.recipes import TEST
from persim_gym.policies.shipped import behaviour_recipes, check_spaces, load_shipped, nearest
from persim_gym.rollout import Chooser, EpisodeBatch

if TYPE_CHECKING:
    from persim_gym.policies.saved import SavedPolicy

#: The behaviours of the paper's data sets (Section 5.1), by the names that `as_policy` knows.
BEHAVIOURS = ("pure", "random", "pure-eps-20", "pure-eps-40")


class _OfTask:
    """A behaviour of policies that ship for a task; the recording's if none is given."""

    name: ClassVar[str]

    def __init__(self, task: Task | None = None) -> None:
        if task is not None:
            _known(task, self.name)
        self.task = task


class NearestPolicy(_OfTask):
    """The behaviour ``"pure"``: an agent is acted by the policy of the nearest training agent.

    A few policies that ship with the package were trained online, each on covariates of its own,
    and stopped at a mediocre return (Section 5.1). The learner is shown neither the covariates nor
    which policy acted. How "nearest" is measured is said in
    :func:`~persim_gym.policies.shipped.nearest`.

    Args:
        task: Whose policies; the recording's if not given.

    Raises:
        ValueError: If no policies ship for the task.
    """

    name = "pure"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Nothing can be predicted without knowing whose observation it is.

        Raises:
            ValueError: Always, with what to do.
        """
        raise ValueError(
            f"behaviour {self.name!r} acts by the agent, which an observation does not tell: "
            "record with it, or take one agent's policy from NearestPolicy(task).policy_of(...)"
        )

    def policy_of(self, covariates: Mapping[str, float]) -> SavedPolicy:
        """The policy that acts for an agent with these covariates; the rest is default.

        Raises:
            TypeError: If a value is no number.
            ValueError: If a covariate is unknown, or this behaviour was made without a task.
        """
        if self.task is None:
            raise ValueError("policy_of() needs a task: make NearestPolicy(task)")
        table = find_suite(self.task.name).covariates
        values = Population.make(table, {"covariates": dict(covariates)}).values
        index = int(nearest(self.task.name, values[:1])[0])
        return load_shipped(self.task.name, behaviour_recipes(self.task.name)[index].name)

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Assign the lanes to policies; each policy then sees all its running lanes at once.

        Raises:
            ValueError: If no policies ship for the task, they do not fit it, or the covariates of
                the agents are not known.
        """
        task = batch.task.name
        _known(batch.task, self.name)
        if batch.population is None:
            raise ValueError(
                f"behaviour {self.name!r} acts by the agents' covariates, which are not known "
                "here: use it on the true environments of a population"
            )
        policies = [load_shipped(task, recipe.name) for recipe in behaviour_recipes(task)]
        for policy in policies:
            check_spaces(policy, batch.task)
        return by_policy(policies, nearest(task, batch.population.values)[batch.agents])


class TestPolicy(_OfTask):
    """The behaviour ``"test"``: the policy of the default agent, for all agents.

    It makes the action sequences on which predictions are judged, and no data set of the paper is
    recorded with it.

    Args:
        task: Whose policy; the recording's if not given.

    Raises:
        ValueError: If no policies ship for the task.
    """

    __test__ = False  # not a class of tests
    name = TEST

    @property
    def action_space(self) -> Any:
        """The task's actions; ``None`` without a task."""
        return None if self.task is None else self.task.action_space

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, or one for ``[d]``.

        Raises:
            ValueError: If the behaviour was made without a task.
        """
        if self.task is None:
            raise ValueError("which test policy? Make it with a task: as_policy('test', task)")
        return load_shipped(self.task.name, TEST).predict(observation, state)

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Without memory: the running lanes only.

        Raises:
            ValueError: If no policies ship for the task, or they do not fit it.
        """
        _known(batch.task, self.name)
        policy = load_shipped(batch.task.name, TEST)
        check_spaces(policy, batch.task)
        return lambda step, lanes, obs: np.asarray(policy.predict(obs)[0])


def by_policy(policies: Any, chosen: NDArray[np.integer[Any]]) -> Chooser:
    """Actions of several policies without memory; each sees all its running lanes at once.

    Args:
        policies: By index.
        chosen: The policy of each episode ``[E]``.
    """

    def choose(step: int, lanes: NDArray[np.int64], obs: NDArray[np.float32]) -> NDArray[Any]:
        of_lane, actions = chosen[lanes], None
        for index in np.unique(of_lane).tolist():
            rows = of_lane == index
            own = np.asarray(policies[index].predict(obs[rows])[0])
            if actions is None:
                actions = np.empty((len(lanes), *own.shape[1:]), dtype=own.dtype)
            actions[rows] = own
        assert actions is not None
        return actions

    return choose


def _known(task: Task, behaviour: str) -> None:
    if task.name not in SUITES:
        raise ValueError(
            f"there is no behaviour {behaviour!r} for task {task.name!r}: policies ship for "
            f"{', '.join(SUITES)}; give 'random' or a policy of your own"
        )
