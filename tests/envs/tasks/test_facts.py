"""What there is to say about a task."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs import SUITES, Suite
from persim_gym.envs.suites import coordinate_names


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_the_facts_of_a_task_fit_its_observations(suite: Suite) -> None:
    d = suite.task().observation_space.shape[0]
    assert len(suite.coordinates) == len(set(suite.coordinates)) == len(suite.ranges) == d
    assert coordinate_names(suite.name, d) == suite.coordinates
    assert all(low < high for low, high in suite.ranges)
    assert all(0 <= first < second < d for first, second in suite.planes)
    assert suite.end(np.zeros(d))


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_population_is_of_the_tasks_covariates(suite: Suite) -> None:
    population = suite.population({"size": 7, "seed": 2})
    assert population.values.shape == (7, len(suite.covariates.columns))
    assert suite.dynamics(population).num_agents == 7
    assert suite.population() == suite.population(None)
    assert suite.population({"size": 7, "seed": 3}) != population
