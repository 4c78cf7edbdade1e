"""A simulator is a view of a value that never changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.posterior.new_agents import NewAgent
from tests.learned.worlds import PlainTask, random_simulator, random_walks


@pytest.fixture(scope="module")
def fitted() -> PerSim:
    task = PlainTask.of(2, actions=3)
    data = random_walks(task)
    return PerSim.fit(data, task=task, method="als", degree=1, rank=2, threshold=0.0)


def state_of(sim: PerSim) -> tuple[Any, ...]:
    return sim.ensemble, sim.experience, sim.task, dict(sim.card), sim.knowledge, sim.names.names


@pytest.mark.parametrize("name", ["ensemble", "task", "experience", "card", "knowledge"])
def test_nothing_is_set_from_outside(name: str, fitted: PerSim) -> None:
    with pytest.raises(AttributeError):
        setattr(fitted, name, None)


def test_what_is_done_to_a_view_leaves_the_other_as_it_was(fitted: PerSim) -> None:
    before, factors = state_of(fitted), fitted.latent_factors.copy()
    rows = np.zeros((3, 2)), np.array([0, 1, 2]), np.full((3, 2), 0.01)
    view = fitted.view()
    assert state_of(view) == before
    count = fitted.num_agents
    assert view.adapt(*rows) == count
    assert view.add_agent(name="Ada", source={"dataset": "some", "of": 7}) == count + 1
    assert view.add_agent(NewAgent(*rows, name="Bo")) == view.agent_index("Bo") == count + 2
    view.update(0, *rows)
    view.rename([f"agent {k}" for k in range(count + 3)])
    assert view.card["adapted"][str(count + 1)] == {"transitions": 0, "dataset": "some", "of": 7}
    for one, other in zip(state_of(fitted), before, strict=True):
        assert one is other or one == other
    np.testing.assert_array_equal(fitted.latent_factors, factors)


def test_who_keeps_posteriors(fitted: PerSim) -> None:
    assert fitted.keeps_posteriors
    assert not random_simulator(PlainTask.of(2, actions=3)).keeps_posteriors
