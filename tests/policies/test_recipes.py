"""Recipes: whose policies they are."""

from __future__ import annotations

from persim_gym.envs import SUITES
from persim_gym.envs.suites import find_suite
from persim_gym.policies.recipes import TEST, find_recipe
from persim_gym.policies.shipped import behaviour_recipes


def test_the_training_agents_are_those_of_the_paper() -> None:
    trained = {
        task: [tuple(recipe.covariates.values()) for recipe in behaviour_recipes(task)]
        for task in SUITES
    }
    assert trained == {
        "mountain-car": [(0.0003,), (0.00075,), (0.00175,), (0.0025,), (0.003,)],
        "cartpole": [(6, 0.5), (14, 0.5), (10, 0.5), (10, 0.675), (10, 0.325)],
        "half-cheetah": [(1.4, 0.6), (1.4, 1.4), (0.6, 0.6), (0.6, 1.4)],
    }
    for task, targets in {
        "mountain-car": (-200, -150),
        "cartpole": (120, 150),
        "half-cheetah": (3000, 4000),
    }.items():
        assert {recipe.target for recipe in behaviour_recipes(task)} == {targets[0]}
        test = find_recipe(task, TEST)
        assert test.target == targets[1]
        assert dict(test.covariates) == find_suite(task).covariates.defaults
