"""Whether something recorded determines an action, in records made so that it is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.validation.confounding import (
    DETERMINED,
    PARTLY,
    Acted,
    Explained,
    explained,
    explained_by_agent,
    late_rows,
)
from tests.evaluation.validation.worlds import AGENTS, COLUMNS, STEPS, drawn, patients, recorded

GLUCOSE = patients(AGENTS, STEPS, noise=1.0).obs[:, 0].reshape(AGENTS, STEPS).astype(np.float64)


def of(dose: Any, carbs: Any = None, k: int = 0) -> Explained:
    data = recorded(dose, carbs)
    return explained(data, Acted.of(data), k, COLUMNS)


def test_discrete_actions_are_a_column_for_each_choice() -> None:
    data = dataclasses.replace(
        patients(2, 3), action=np.array([0, 2, 0, 1, 1, 2]), action_names=("drug",),
        action_labels=("A", "B", "C"),
    )  # fmt: skip
    acted = Acted.of(data)
    assert acted.names == ("drug A", "drug B", "drug C")
    assert acted.values.argmax(1).tolist() == data.action.tolist()
    assert (acted.discrete, acted.width) == (True, 3)
    plain = Acted.of(dataclasses.replace(data, action_labels=None, action_names=None))
    assert plain.names == ("action 0", "action 1", "action 2")
    assert Acted.of(recorded(drawn(), drawn(1))).names == ("dose", "carbs")


def test_who_varied_an_action_is_seen_from_its_deviation() -> None:
    dose = drawn()
    dose[2] = 0.5
    dose[5] = 0.5 + 1e-4 * drawn()[5]  # a thousandth of what others did
    data = recorded(dose)
    varied = Acted.of(data).varied_by(data.agent, AGENTS)[:, 0]
    assert np.flatnonzero(~varied).tolist() == [2, 5]


def test_what_is_drawn_is_not_explained() -> None:
    found = of(drawn())
    assert found.r2 < PARTLY
    assert found.driver is not None


def test_a_driver_is_named() -> None:
    found = of(0.01 * GLUCOSE - 0.2)
    assert found.r2 > 0.99
    assert (found.by, found.driver) == ("glucose", "glucose")
    np.testing.assert_allclose(found.driver_values, GLUCOSE.ravel())


def test_a_threshold_is_found_by_neighbours() -> None:
    found = of(np.where(GLUCOSE > 100, 1.0, 0.2))
    assert found.of_state > PARTLY
    assert found.by == "glucose"


def test_the_other_actions_explain_one_too() -> None:
    found = of(0.1 * drawn(), 2.0 * drawn())
    assert (found.by, found.of_state < PARTLY) == ("carbs", True)
    assert found.r2 > DETERMINED
    both = of(0.01 * GLUCOSE + drawn(1), drawn(1))
    assert both.by == "the state and the other actions"


def test_the_state_together_explains_what_no_coordinate_does() -> None:
    data = patients(AGENTS, STEPS, noise=1.0)
    scaled = (data.obs - data.obs.mean(0)) / data.obs.std(0)
    assert of(scaled.sum(1).astype(np.float64)).by == "the state"


def test_few_rows_say_nothing() -> None:
    data = patients(1, 12)
    found = explained(data, Acted.of(data), 0, COLUMNS)
    assert np.isnan(found.r2)
    assert found.driver is None
    assert np.isnan(of(np.ones((AGENTS, STEPS))).r2), "nor one that is always the same"


def test_each_agent_may_follow_a_rule_of_its_own() -> None:
    dose = drawn()
    dose[3] = 0.02 * GLUCOSE[3] + 1e-3 * drawn()[3]
    data = recorded(dose)
    found = explained_by_agent(data, Acted.of(data))[:, 0]
    assert found[3] > 0.99
    assert (np.delete(found, 3) < PARTLY).all()
    short = patients(3, 6)
    assert np.isnan(explained_by_agent(short, Acted.of(short))).all()


@pytest.mark.parametrize("steps", [3, 10, 30])
def test_the_last_third_of_every_record_is_late(steps: int) -> None:
    data = patients(4, steps)
    late = late_rows(data.agent).reshape(4, steps)
    assert (late.sum(1) == steps // 3).all()
    assert late[:, -1].all()
