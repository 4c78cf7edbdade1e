"""Which policies ship: whose they are, what they should earn, and how they are trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persim_gym import checks
from persim_gym.envs.suites import SUITES, find_suite

#: Name of the policy of the default agent, which no data set of the paper is made with.
TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one policy is made.

    Attributes:
        task: The task's name.
        name: The policy's name among its task's.
        covariates: The agent it is trained on.
        target: The return at which training stops.
        tolerance: What the return may be off, as a share of the target.
        algorithm: ``"dqn"`` or ``"td3"``.
        lanes: Environments that collect side by side.
        section_steps: Steps of all lanes together after which everything begins anew, so that a
            training can go on from there; whole episodes of all lanes where that matters.
        evaluate_every: Steps of all lanes together from one evaluation of the policy to the next.
        evaluation_episodes: Episodes of an evaluation.
        max_steps: Steps after which the nearest policy of all evaluations is taken.
        exploration: DQN: share of random actions at the beginning, at the end, and the steps from
            one to the other; TD3: standard deviation of the noise on actions.
        settings: Arguments of the algorithm's class.
        seed: Seed with which the shipped policy was made.
        first_on: Covariates on which training begins, where it does not get off the ground on its
            own, and the steps after which it goes over to those of the policy.
    """

    task: str
    name: str
    covariates: Mapping[str, float]
    target: float
    tolerance: float = 0.1
    algorithm: str
    lanes: int
    section_steps: int
    evaluate_every: int
    evaluation_episodes: int
    max_steps: int
    exploration: tuple[float, ...]
    settings: Mapping[str, Any]
    seed: int = 0
    first_on: tuple[Mapping[str, float], int] | None = None

    @property
    def band(self) -> float:
        """How far from the target a return may be."""
        return self.tolerance * abs(self.target)


_CHEETAH = {
    "algorithm": "td3",
    "lanes": 8,
    "section_steps": 8000,
    "evaluate_every": 2000,
    "evaluation_episodes": 20,
    "max_steps": 200_000,
    "exploration": (0.1,),
    "settings": {
        "learning_rate": 1e-3,
        "batch_size": 128,
        "buffer_size": 400_000,
        "learning_starts": 8000,
        # Half as many gradient steps as environment steps: true steps are the cheaper ones here.
        "train_freq": 1,
        "gradient_steps": 4,
        "policy_kwargs": {"net_arch": [128, 128], "optimizer_kwargs": {"fused": True}},
    },
}
_CART_POLE = {
    "algorithm": "dqn",
    "lanes": 1,
    "section_steps": 2000,
    "evaluate_every": 100,
    "evaluation_episodes": 100,
    "max_steps": 60_000,
    "exploration": (1.0, 0.05, 8000),
    "settings": {
        "learning_rate": 1e-3,
        "batch_size": 64,
        "buffer_size": 50_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 500,
        "train_freq": 4,
        "gradient_steps": 2,
        "policy_kwargs": {"net_arch": [64, 64]},
    },
}
# Rewards say nothing before the goal is found: five of them are summed before values are compared.
_MOUNTAIN_CAR = {
    "algorithm": "dqn",
    "lanes": 8,
    "section_steps": 8000,
    "evaluate_every": 160,
    "evaluation_episodes": 30,
    "max_steps": 60_000,
    "exploration": (1.0, 0.07, 24_000),
    "settings": {
        "learning_rate": 1e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "learning_starts": 1000,
        "gamma": 0.98,
        "n_steps": 5,
        "target_update_interval": 600,
        "train_freq": 2,
        "gradient_steps": 8,
        "policy_kwargs": {"net_arch": [64, 64]},
    },
}
_HOW: dict[str, dict[str, Any]] = {
    "mountain-car": _MOUNTAIN_CAR,
    "cartpole": _CART_POLE,
    "half-cheetah": _CHEETAH,
}

# The agents on which the paper's authors trained (their published code), and the returns at which
# they stopped (the paper, Section 5.1): of the behaviours' policies, of the test policy.
_AGENTS: dict[str, tuple[tuple[float, ...], ...]] = {
    "mountain-car": ((0.0003,), (0.00075,), (0.00175,), (0.0025,), (0.003,)),
    "cartpole": ((6.0, 0.5), (14.0, 0.5), (10.0, 0.5), (10.0, 0.675), (10.0, 0.325)),
    "half-cheetah": ((1.4, 0.6), (1.4, 1.4), (0.6, 0.6), (0.6, 1.4)),
}
_TARGETS = {
    "mountain-car": (-200.0, -150.0),
    "cartpole": (120.0, 150.0),
    "half-cheetah": (3000.0, 4000.0),
}


def recipes(task: str) -> tuple[Recipe, ...]:
    """The recipes of a task: one for each training agent, in the paper's order, then the test's.

    Raises:
        ValueError: If there is no such task.
    """
    suite = find_suite(task)
    made = []
    for values in _AGENTS[suite.name]:
        covariates = dict(zip(suite.covariates.names, values, strict=True))
        name = "-".join(f"{key}-{value:g}" for key, value in covariates.items())
        made.append(_recipe(suite.name, name, covariates, _TARGETS[suite.name][0]))
    test = _recipe(suite.name, TEST, suite.covariates.defaults, _TARGETS[suite.name][1])
    return (*made, test)


def find_recipe(task: str, name: str) -> Recipe:
    """The recipe of one policy.

    Raises:
        ValueError: If there is no such task or policy.
    """
    known = recipes(task)
    for recipe in known:
        if recipe.name == name:
            return recipe
    names = [recipe.name for recipe in known]
    raise ValueError(
        f"unknown policy {name!r} of {known[0].task}{checks.meant(name, names)}: there are "
        f"{', '.join(names)}"
    )


def all_recipes() -> tuple[Recipe, ...]:
    """The recipes of all tasks."""
    return tuple(recipe for task in SUITES for recipe in recipes(task))


_OWN: dict[tuple[str, str], dict[str, Any]] = {
    # With other seeds no evaluation was near the target: the returns jump.
    ("mountain-car", "gravity-0.00075"): {"seed": 2},
    # A light body with little damping does not get there on its own: six trainings (four seeds,
    # more noise, another discount) stayed below 2,310, one of them for a million steps.
    ("half-cheetah", "mass-0.6-damping-0.6"): {
        "first_on": ({"mass": 0.6, "damping": 1.4}, 56_000),
    },
}


def _recipe(task: str, name: str, covariates: Mapping[str, float], target: float) -> Recipe:
    how = Recipe(task=task, name=name, covariates=covariates, target=target, **_HOW[task])
    return dataclasses.replace(how, **_OWN.get((task, name), {}))
