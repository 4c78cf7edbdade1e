"""What predicts the part that was kept: who is asked for which agent, and what could not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.validation import models
from persim_gym.evaluation.validation.models import (
    LINEAR,
    PERSISTENCE,
    POOLED,
    REFERENCES,
    SAVED,
    SIMULATOR,
    choices_of,
    fit_models,
    models_as_they_are,
)
from persim_gym.evaluation.validation.splits import make_split
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import FIT
from tests.learned.worlds import PlainTask, random_simulator

TURN = np.zeros(2)


def refit(part: Transitions) -> PerSim:
    return PerSim.fit(part, progress=False, **FIT)


def test_agents_that_were_kept_are_added_and_those_that_were_fitted_are_their_own(
    sim: PerSim, data: Transitions
) -> None:
    split, told = make_split("agents", data, seed=1), list[int]()
    found = fit_models(data, split, refit, TURN, sim, told.append)
    assert told == [1, 2]
    assert found.notes == ()
    assert set(found.asked) == {SIMULATOR, *REFERENCES, SAVED}
    kept = np.unique(data.agent[split.known])
    fitted = np.unique(data.agent[split.fitted])
    own = found.asked[SIMULATOR].agents
    assert own[fitted].tolist() == list(range(len(fitted)))
    assert own[kept].tolist() == [len(fitted), len(fitted) + 1]
    assert found.sim.num_agents == data.num_agents
    assert set(found.asked[POOLED].agents.tolist()) == {0}
    assert (found.asked[LINEAR].agents >= 0).all()
    assert found.asked[SAVED].agents.tolist() == list(range(data.num_agents))


def test_a_pooled_model_that_cannot_be_fitted_is_a_linear_one(
    data: Transitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("no luck")

    monkeypatch.setattr(PerSim, "refit", fails)
    found = fit_models(data, make_split("ends", data), refit, TURN, None, lambda done: None)
    assert SAVED not in found.asked
    assert found.notes[0].startswith("The pooled model is a linear one")
    assert found.notes[0].endswith("no luck")
    assert POOLED in found.asked
    there = models_as_they_are(data, refit(data), data, TURN)
    assert there.notes == ("There is no pooled model: no luck",)
    assert POOLED not in there.asked


def test_without_the_data_of_the_fit_persistence_is_the_only_reference(
    sim: PerSim, data: Transitions
) -> None:
    found = models_as_they_are(data, sim, None, TURN)
    assert set(found.asked) == {SIMULATOR, PERSISTENCE}
    assert "(--fitted-on, or fitted_on= in Python)" in found.notes[0]


def test_a_linear_model_knows_the_agents_of_its_data(sim: PerSim, data: Transitions) -> None:
    first = data.select(data.agent < 5)
    first = models.compact(first, np.arange(len(first)))
    found = models_as_they_are(data, sim, first, TURN)
    assert (found.asked[LINEAR].agents >= 0).tolist() == [k < 5 for k in range(data.num_agents)]


def test_choices_are_those_of_discrete_actions(sim: PerSim) -> None:
    assert choices_of(sim) == 0
    assert choices_of(random_simulator(PlainTask.of(2, actions=3))) == 3
