"""The policies that ship with the package: which there are, whose is nearest, and reading them.

Nothing here loads torch before a policy is read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import find_suite
from persim_gym.policies.recipes import TEST, Recipe, recipes

if TYPE_CHECKING:
    from persim_gym.core import Task
    from persim_gym.policies.saved import SavedPolicy

WEIGHTS = Path(__file__).parent / "weights"


def behaviour_recipes(task: str) -> tuple[Recipe, ...]:
    """The recipes of a task's behaviour policies, in the paper's order: all but the test's.

    Raises:
        ValueError: If no policies ship for the task.
    """
    return tuple(recipe for recipe in recipes(task) if recipe.name != TEST)


def nearest(task: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each agent the index of the nearest training covariates among the behaviour policies.

    Paper: the text does not say how "nearest" is measured. Here it is the Euclidean distance with
    every covariate divided by the width of the paper's range, whatever the range of the population
    at hand. Of equally near ones the first is taken, in the order of :func:`behaviour_recipes`;
    distances that differ by rounding alone count as equal.

    Args:
        task: The task's name.
        values: Covariates ``[N, c]`` in the order of the task's table.

    Returns:
        Indices ``[N]`` into :func:`behaviour_recipes`.

    Raises:
        ValueError: If no policies ship for the task, or the shape does not fit.
    """
    columns = find_suite(task).covariates.columns
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise ValueError(
            f"covariates of {task} must have shape (agents, {len(columns)}), got {values.shape}"
        )
    widths = np.array([column.high - column.low for column in columns])
    trained = np.array([list(recipe.covariates.values()) for recipe in behaviour_recipes(task)])
    away = (values[:, None] - trained) / widths
    distances = np.sqrt((away**2).sum(axis=2))
    near: NDArray[np.bool_] = distances <= distances.min(axis=1, keepdims=True) + 1e-9
    return near.argmax(axis=1)


def load_shipped(task: str, name: str) -> SavedPolicy:
    """A policy that ships with the package.

    Args:
        task: The task's name or environment id.
        name: One of :func:`~persim_gym.policies.recipes.recipes`, such as ``"gravity-0.0003"`` or
            ``"test"``.

    Raises:
        ValueError: If there is no such task or policy, or its file is damaged.
    """
    from persim_gym.policies.recipes import find_recipe

    recipe = find_recipe(task, name)
    return _read(recipe.task, recipe.name)


def cards(task: str) -> dict[str, Mapping[str, Any]]:
    """The cards of a task's policies by name: algorithm, covariates, steps, seed, return.

    Raises:
        ValueError: If no policies ship for the task, or a file is damaged.
    """
    return {recipe.name: load_shipped(task, recipe.name).card for recipe in recipes(task)}


@functools.cache
def _read(task: str, name: str) -> SavedPolicy:
    from persim_gym.policies.saved import load_policy

    file = WEIGHTS / task / f"{name}.safetensors"
    try:
        policy = load_policy(file)
    except FileNotFoundError:
        raise ValueError(
            f"the weights of {name} of {task} are missing from this installation ({file}): install "
            f"the package again, or make them with persim-gym policies train {task}"
        ) from None
    check_spaces(policy, find_suite(task).task())
    return policy


def check_spaces(policy: Any, task: Task) -> None:
    """Check that a policy that says what it sees and does fits a task; others pass.

    Raises:
        ValueError: If its spaces are not the task's.
    """
    for kind, expected in (
        ("observation", task.observation_space),
        ("action", task.action_space),
    ):
        given = getattr(policy, f"{kind}_space", None)
        if given is not None and given != expected:
            raise ValueError(
                f"the policy's {kind}s are not those of {task.name}: it has {given}, the task has "
                f"{expected}"
            )
