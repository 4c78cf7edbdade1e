"""Errors of the library about a name that is nearly right say which one was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from persim_gym.envs.guard import Reason
from persim_gym.envs.suites import find_suite
from persim_gym.experiments.engines import check_engine
from persim_gym.experiments.presets import preset_cells
from persim_gym.learned.config import ClosedForm
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.planning.planner_choice import choose_planner
from persim_gym.policies.behaviours import as_policy
from persim_gym.policies.recipes import find_recipe
from persim_gym.training import check_algorithm

TASK = find_suite("cartpole").task()


@pytest.mark.parametrize(
    ("call", "wrong", "meant"),
    [
        (find_suite, "cart-pole", "cartpole"),
        (lambda name: find_recipe("cartpole", name), "force-6-length-05", "force-6-length-0.5"),
        (lambda name: as_policy(name, TASK), "pure_eps_20", "pure-eps-20"),
        (lambda name: choose_planner(TASK, name), "shoting", "shooting"),
        (lambda name: check_algorithm(TASK, name), "DQN", "dqn"),
        (check_engine, "locall", "local"),
        (preset_cells, "lap-top", "laptop"),
        (lambda name: plan_fit("cartpole", method=name, options={}), "hierarchic", "hierarchical"),
        (lambda name: plan_fit("cartpole", preset=name, options={}), "papers", "paper"),
        (lambda name: plan_fit("cartpole", options={name: 1}), "ensemblesize", "ensemble_size"),
        (lambda name: ClosedForm(effort=name), "quik", "quick"),
        (lambda name: find_suite("cartpole").population({"covariates": {name: 1.0}}),
         "forse", "force"),
        (lambda name: Reason(name), "non_finite", "non-finite"),
    ],
)  # fmt: skip
def test_nearly_right_names(call: Callable[[str], Any], wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match="did you mean") as caught:
        call(wrong)
    assert f"(did you mean {meant!r}?)" in str(caught.value)
