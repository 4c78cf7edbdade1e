"""Where agents have been, and how often each dose was given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.validation import coverage
from persim_gym.evaluation.validation.confounding import Acted
from persim_gym.evaluation.validation.coverage import (
    coverage_by_agent,
    dose_shares,
    varied_by_region,
)
from persim_gym.evaluation.validation.support import support_of
from tests.evaluation.validation.worlds import AGENTS, COLUMNS, STEPS, drawn, recorded


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


def test_actions_that_are_always_the_same_and_states_too_cover_all() -> None:
    data = recorded(np.ones((AGENTS, STEPS)))
    still = dataclasses.replace(data, obs=np.full_like(data.obs, 3.0))
    covered = coverage_by_agent(still, Acted.of(still), np.arange(AGENTS))
    assert covered.tolist() == [[1.0, 1.0]] * AGENTS


def test_agents_far_from_each_other_cover_nothing_of_each_other() -> None:
    data = recorded(drawn())
    data = data.select(data.agent < 4)
    apart = 1e4 * data.agent[:, None].astype(np.float32)
    far = dataclasses.replace(data, obs=data.obs + apart, action=data.action + apart)
    covered = coverage_by_agent(far, Acted.of(far), np.arange(4))
    assert covered.tolist() == [[0.25, 0.0]] * 4


def test_choices_are_counted_by_their_labels() -> None:
    drugs = (drawn() > 0.25).astype(np.int64).ravel()
    data = dataclasses.replace(
        recorded(drawn()), action=drugs, action_names=("drug",), action_labels=("A", "B", "C")
    )
    (found,) = dose_shares(data, Acted.of(data), np.arange(AGENTS))
    assert (found["labels"], found["edges"]) == (["drug A", "drug B", "drug C"], None)
    assert found["agents"] == [AGENTS, AGENTS, 0]
    np.testing.assert_allclose(found["rows"], np.bincount(drugs, minlength=3) / len(drugs))


def test_a_third_of_a_coordinate_is_its_own_region() -> None:
    data = recorded(drawn())
    low = data.obs[:, 0] < np.quantile(data.obs[:, 0], 1 / 3)
    still = dataclasses.replace(data, action=np.where(low[:, None], 0.5, data.action))
    found = varied_by_region(still, Acted.of(still), COLUMNS)
    assert [(r["coordinate"], r["region"]) for r in found][:3] == [
        ("glucose", "lowest third"), ("glucose", "middle third"), ("glucose", "highest third"),
    ]  # fmt: skip
    assert [r["own"] > 0 for r in found][:3] == [False, True, True]
    assert sum(r["rows"] for r in found[:3]) == len(data)
    assert found[0]["through_others"] == 0
    assert found[1]["own"] + found[1]["through_others"] == AGENTS


def test_an_agents_own_record_covers_itself_whatever_rows_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = recorded(drawn())
    monkeypatch.setattr(coverage, "AMONG", 1)
    covered = coverage_by_agent(data, Acted.of(data), np.arange(AGENTS))
    assert (covered[:, 0] >= 1 / AGENTS - 0.01).all()
