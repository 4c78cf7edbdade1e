"""What data cover and identify: stated rules, in records made so that the answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.validation.support import support_of
from tests.evaluation.validation.worlds import AGENTS, STEPS, drawn, patients, recorded


def glucose() -> np.ndarray:
    return patients(AGENTS, STEPS, noise=1.0).obs[:, 0].reshape(AGENTS, STEPS).astype(np.float64)


def rests(found: dict[str, Any], action: str = "dose") -> list[str]:
    return [own["rests_on"][action] for own in found["agents"].values()]


def each(value: np.ndarray) -> np.ndarray:
    """The same value of an agent throughout."""
    return np.repeat(value[:, None], STEPS, axis=1)


GAIN = 1 + np.arange(AGENTS) / 4
CASES: dict[str, tuple[Any, str, str, str]] = {
    "drawn": (lambda: (drawn(),), "varied", "own", "nothing recorded determines it"),
    "one dose": (lambda: (each(np.ones(AGENTS)),), "never varied", "nothing", "say nothing of"),
    "a dose each": (
        lambda: (each(GAIN),), "constant for each agent", "nothing", "what the agents themselves",
    ),
    "by the state": (
        lambda: (0.01 * glucose() - 0.2,), "determined", "nothing", "follows from glucose (R² 1.00",
    ),
    "by a threshold": (
        lambda: (np.where(glucose() > 100, 1.0, 0.2),), "determined", "nothing", "from glucose",
    ),
    "by the state, each in its own way": (
        lambda: (GAIN[:, None] * glucose() + 0.05 * drawn(),), "determined", "nothing", "own",
    ),
    "in proportion": (
        lambda: (0.1 * drawn(), 2.0 * drawn()), "determined", "nothing", "follows from carbs",
    ),
    "mostly by the state": (
        lambda: (0.02 * glucose() + drawn(),), "mostly determined", "own", "departures are a guess",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_identifies_an_action_is_said(case: str) -> None:
    make, status, on, says = CASES[case]
    found = support_of(recorded(*make()))
    assert found["actions"][0]["status"] == status
    assert set(rests(found)) == {on}
    text = " ".join(found["sentences"])
    assert says in text
    assert bool(found["warnings"]) == (status != "varied")


def test_what_one_agent_never_did_rests_on_others() -> None:
    dose = drawn()
    dose[2] = 0.5
    dose[5] = 0.01 * glucose()[5]
    found = support_of(recorded(dose))
    assert [k for k, on in enumerate(rests(found)) if on == "others"] == [2, 5]
    assert found["actions"][0]["varied_by"] == AGENTS - 1
    text = " ".join(found["warnings"])
    assert "dose: never varied in the record of patient 2. Answers about them rest on the" in text
    assert "follows from the state or the other actions in the record of patient 5" in text


def test_one_that_alone_varied_an_action_has_no_others() -> None:
    dose = each(np.full(AGENTS, 0.5))
    dose[3] = drawn()[3]
    assert rests(support_of(recorded(dose))) == ["others"] * 3 + ["own"] + ["others"] * 4


def test_regions_without_variation_are_named() -> None:
    dose = np.where(glucose() > np.quantile(glucose(), 0.6), 0.5, drawn())
    found = support_of(recorded(dose))
    (high,) = [
        r
        for r in found["regions"]
        if (r["coordinate"], r["region"]) == ("glucose", "highest third")
    ]
    assert high["own"] == high["through_others"] == 0
    assert any(
        text.startswith("dose: never varied where glucose is above") for text in found["warnings"]
    )
    low = next(r for r in found["regions"] if r["region"] == "lowest third")
    assert low["own"] > 0
    assert low["own"] + low["through_others"] == AGENTS


def test_choices_are_judged_each() -> None:
    """One drug was never given, one is given by the state, and by it the third is as well."""
    data = patients(AGENTS, STEPS, noise=1.0)
    drugs = (data.obs[:, 0] > 100).astype(np.int64)
    data = dataclasses.replace(
        data, action=drugs, action_names=("drug",), action_labels=("A", "B", "C")
    )
    found = support_of(data)
    assert [(a["name"], a["status"]) for a in found["actions"]] == [
        ("drug A", "determined"), ("drug B", "determined"), ("drug C", "never varied"),
    ]  # fmt: skip
    assert found["doses"][0]["labels"] == ["drug A", "drug B", "drug C"]


@pytest.mark.parametrize(("agents", "steps"), [(1, 1), (1, 3), (3, 1), (1, 40), (200, 3)])
def test_few_rows_are_no_error(agents: int, steps: int) -> None:
    found = support_of(patients(agents, steps))
    assert len(found["agents"]) == agents
    if steps < 4 and agents < 4:
        assert "too few" in " ".join(found["sentences"]) or found["warnings"]
