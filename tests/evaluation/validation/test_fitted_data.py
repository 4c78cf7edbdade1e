"""The data of a simulator's fit, found again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.validation.fitted_data import data_of, fitting, is_of
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import FIT


def test_given_data_are_those_of_the_fit(sim: PerSim, data: Transitions) -> None:
    assert is_of(sim, data)
    assert data_of(sim, data).sha256() == data.sha256()
    other = dataclasses.replace(data, reward=data.reward, obs=data.obs + np.float32(0.5))
    assert not is_of(sim, other)
    with pytest.raises(ValueError, match="have changed since the simulator was fitted"):
        data_of(sim, other)


def test_a_simulator_of_the_first_agents_knows_its_part_of_the_data(data: Transitions) -> None:
    first = dataclasses.replace(
        data.select(data.agent < 5), num_agents=5, agent_names=data.agent_names[:5]
    )
    sim = PerSim.fit(first, progress=False, **FIT)
    assert data_of(sim, data).sha256() == first.sha256()


def test_what_fits_data_takes_the_options_of_a_fit(data: Transitions) -> None:
    refit = fitting(data, {**FIT, "seed": 3})
    found = refit(data.select(data.step < 20))
    assert found.card["fitted_by"] == "hierarchical"
    assert found.card["config"]["seed"] == 3
    assert found.task.action_space == refit(data).task.action_space
    with pytest.raises(ValueError, match="unknown method 'magic'"):
        fitting(data, {"method": "magic"})


def test_the_data_of_a_fit_are_found_or_asked_for(sim: PerSim) -> None:
    with pytest.raises(ValueError, match="not at hand"):
        sim.validate()
