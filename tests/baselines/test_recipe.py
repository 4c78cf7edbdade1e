"""What decides a baseline's fit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import Cloning
from persim_gym.baselines.recipe import as_config, of_agent, recipe_of
from persim_gym.learned.preparation import task_for
from tests.baselines.small import SILENT, data_of


def test_a_configuration_comes_from_nothing_a_mapping_or_one() -> None:
    kind = Cloning.Config
    assert as_config(kind, None, {}) == kind()
    assert as_config(kind, {"updates": 5}, {}) == kind().replaced({"updates": 5})
    own = kind().replaced({"updates": 5})
    assert as_config(kind, own, {}) is own
    assert as_config(kind, own, {"updates": 7}).updates == 7
    with pytest.raises(TypeError, match=f"config must be a {kind.__name__} or a mapping"):
        as_config(kind, 3, {})


def test_one_agent_s_transitions_are_its_own() -> None:
    data = data_of("discrete")
    assert of_agent(data, None) is data
    assert set(of_agent(data, 2).agent.tolist()) == {2}
    named = dataclasses.replace(data, agent_names=("a", "b", "c", "d"))
    np.testing.assert_array_equal(of_agent(named, "c").obs, of_agent(data, 2).obs)
    with pytest.raises(ValueError, match=f"agent {SILENT} has no transitions"):
        of_agent(data, SILENT)


def test_what_decides_a_fit_is_in_its_recipe() -> None:
    data, config = data_of("discrete"), Cloning.Config()
    task = task_for(data, 0)

    def recipe(config: Any = config, seed: int = 0, data: Any = data) -> Any:
        return json.loads(json.dumps(recipe_of("Cloning", config, seed, task, data)))

    whole = recipe()
    assert whole["agents"] == [0, 2, 3]
    assert whole == recipe()
    other_reward = dataclasses.replace(data, reward=data.reward + 1)
    for other in (
        recipe(config=config.replaced({"updates": 5})), recipe(seed=1),
        recipe(data=of_agent(data, 2)), recipe(data=other_reward),
    ):  # fmt: skip
        assert other != whole
