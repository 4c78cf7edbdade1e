"""What a simulator's card says decides whether a checkpoint is of the same fit."""

from __future__ import annotations

import json

import numpy as np

from persim_gym.learned.fitting.card import recipe_of
from persim_gym.learned.fitting.plan import plan_fit
from tests.learned.worlds import PlainTask, transitions


def test_a_recipe_is_plain_and_knows_data_and_options_apart() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 2))
    task = PlainTask.of(2, actions=2)

    def recipe(shift: float = 0.0, **options: int) -> str:
        data = transitions(np.arange(8) // 4, rows, np.arange(8) % 2, rows + shift)
        plan = plan_fit("plain", config=None, method="als", preset="default", options=options)
        return json.dumps(recipe_of(plan, "default", task, data), sort_keys=True)

    assert recipe() == recipe()
    others = {recipe(), recipe(1.0), recipe(seed=1), recipe(degree=2)}
    assert len(others) == 4
    assert json.loads(recipe())["dataset"]["agents"] == 2
