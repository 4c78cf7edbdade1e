"""What data cover and identify: stated rules, in records made so that the answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.validation.support import support_of
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import patients

AGENTS, STEPS = 8, 60


def recorded(dose: np.ndarray, carbs: np.ndarray | None = None) -> Transitions:
    """Patients' states with other actions: what was done is all that matters here."""
    data = patients(AGENTS, STEPS, noise=1.0)
    actions = [dose.reshape(-1)] if carbs is None else [dose.reshape(-1), carbs.reshape(-1)]
    names = ("dose", "carbs")[: len(actions)]
    return dataclasses.replace(data, action=np.stack(actions, 1), action_names=names)


def glucose() -> np.ndarray:
    return patients(AGENTS, STEPS, noise=1.0).obs[:, 0].reshape(AGENTS, STEPS).astype(np.float64)


def drawn(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (AGENTS, STEPS))


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


def test_coverage_is_that_counted_by_hand() -> None:
    data = recorded(drawn())
    both = np.concatenate([data.obs, data.action], axis=1).astype(np.float64)
    both /= both.std(0)
    near = (((both[:, None] - both) ** 2).mean(-1) <= 0.25).reshape(len(data), AGENTS, STEPS).any(2)
    others = near & (data.agent[:, None] != np.arange(AGENTS))
    found = list(support_of(data)["agents"].values())
    np.testing.assert_allclose([own["own"] for own in found], near.mean(0), atol=0.01)
    by_agent = others.any(1).reshape(AGENTS, STEPS).mean(1)
    np.testing.assert_allclose([own["others"] for own in found], by_agent, atol=0.02)


def test_doses_are_shares_of_each_record() -> None:
    (doses,) = support_of(recorded(drawn()))["doses"]
    shares = np.array(doses["shares"])
    assert shares.shape == (AGENTS, 10)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-3)
    (expected, edges) = np.histogram(drawn()[3].astype(np.float32), doses["edges"])
    np.testing.assert_allclose(shares[3] * STEPS, expected, atol=0.01)
    assert len(edges) == 11


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
