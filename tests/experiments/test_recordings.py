"""The data of a cell: which agents, which recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.experiments.recordings import (
    missing_recordings,
    population_of,
    recording_of,
    transitions_of,
)
from tests.experiments.paper_cells import quick, tiny

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.mark.slow
def test_few_agents_are_the_first_ones_and_the_judged_among_them() -> None:
    many, few = transitions_of(tiny(train_agents=500)), transitions_of(tiny())
    assert (many.num_agents, few.num_agents) == (500, 25)
    assert sorted(set(few.agent.tolist())) == list(range(25))
    kept = many.agent < 25
    np.testing.assert_array_equal(few.obs, many.obs[kept])
    np.testing.assert_array_equal(few.agent, many.agent[kept])
    # The data's population is that of the judged agents.
    population = SUITES["cartpole"].population(few.population)
    whole = population_of(tiny())
    np.testing.assert_array_equal(population.values, whole.values[:25])
    np.testing.assert_array_equal(whole.values[:5], SUITES["cartpole"].population().values[:5])


def test_each_seed_has_agents_and_a_recording_of_its_own() -> None:
    first, second = tiny(), tiny(seed=1)
    a, b = population_of(first).values, population_of(second).values
    np.testing.assert_array_equal(a[:5], b[:5])  # the paper's test agents
    assert (a[5:] != b[5:]).all()
    assert recording_of(first).dataset_id == "persim/cartpole/random-v0"
    assert recording_of(second).dataset_id == "persim/cartpole/random-seed-1-v0"
    more = recording_of(tiny(train_agents=600))
    assert more.dataset_id == "persim/cartpole/random-agents-600-v0"
    assert more.steps == 600 * 200
    with pytest.raises(ValueError, match="learns from no data"):
        recording_of(quick())


def test_what_is_missing_is_recorded_once(root: Path) -> None:
    cells = [tiny(), tiny("reward"), tiny(train_agents=30), quick(), tiny(seed=7)]
    missing = [recording.dataset_id for recording in missing_recordings(cells)]
    assert missing == ["persim/cartpole/random-seed-7-v0"]  # that of seed 0 is recorded
