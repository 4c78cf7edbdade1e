"""What is recommended, as a table, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from persim_gym.learned.outcomes.expression import Columns
from persim_gym.planning.recommendation import Course, Recommendation

COLUMNS = Columns(state=("level",), action=("dose",))


def course(*levels: float, dose: float = 1.0, ends: int | None = None) -> Course:
    """Predictions of these levels, which earn as much, within one more and one less."""
    obs = np.array(levels, dtype=np.float32)[:, None]
    return Course(
        np.full((len(levels), 1), dose), obs, obs - 1, obs + 1, np.array(levels, dtype=float), ends
    )


def recommendation(**changes: Any) -> Recommendation:
    """From step 2 of a record of five: two steps of plan, two that were done, two before."""
    plain: dict[str, Any] = {
        "agent": "bob", "columns": COLUMNS, "reward": "next.level", "level": 0.95, "start": 2,
        "state": np.array([3.0], dtype=np.float32), "plan": course(4.0, 5.0, dose=2.0, ends=2),
        "done": course(3.5, 3.0), "repeated": False, "before": course(1.0, 2.0),
        "recorded_before": np.array([[0.5], [1.5], [3.0]], dtype=np.float32),
        "recorded_after": np.array([[3.25]], dtype=np.float32),
        "rewards_before": np.array([1.5, 3.0]), "rewards_after": np.array([3.25]), "unsure": 1,
    }  # fmt: skip
    return Recommendation(**{**plain, **changes})


def test_courses_are_summed_beside_what_was_recorded() -> None:
    assert recommendation().summary() == [
        ("the plan", 2, 9.0, None),
        ("the recorded actions", 2, 6.5, 3.25),
        ("before the start", 2, 3.0, 4.5),
    ]
    repeated = recommendation(repeated=True, before=None)
    assert repeated.summary()[1:] == [("the last 2 recorded actions once more", 2, 6.5, None)]
    assert len(recommendation(done=None, before=None).summary()) == 1


def test_a_row_is_an_action_and_the_state_that_it_leads_to() -> None:
    head, rows = recommendation().rows()
    assert head == [
        "agent", "course", "step", "dose", "next level", "next level low", "next level high",
        "next level recorded", "reward",
    ]  # fmt: skip
    assert rows[0] == ["bob", "plan", "0", "2", "4", "3", "5", "", "4"]
    assert rows[2] == ["bob", "done", "0", "1", "3.5", "2.5", "4.5", "3.25", "3.5"]
    assert rows[3][7] == "", "nothing was recorded of that step"
    assert [row[1:3] for row in rows[4:]] == [["before", "-2"], ["before", "-1"]]
    assert [row[7] for row in rows[4:]] == ["1.5", "3"]
    assert [row[7] for row in recommendation(repeated=True).rows()[1][2:4]] == ["", ""]


def test_ends_that_are_not_known_are_empty() -> None:
    plan = course(4.0)
    unknown = recommendation(plan=replace(plan, low=plan.low * np.nan, high=plan.high * np.inf))
    assert unknown.rows()[1][0][5:7] == ["", ""]


@pytest.mark.parametrize(
    ("columns", "action", "text"),
    [
        (COLUMNS, np.array([2.5]), "2.5"),
        (Columns(state=("x",), action=("u", "v")), np.array([1.0, 1 / 3]), "1, 0.333333"),
        (Columns(state=("x",), action=("drug",), discrete=True, labels=("none", "A")), 1, "A"),
        (Columns(state=("x",), action=("drug",), discrete=True), np.int64(2), "2"),
    ],
)
def test_an_action_as_text(columns: Columns, action: Any, text: str) -> None:
    assert recommendation(columns=columns).action_text(action) == text


def test_everything_is_plain_in_json() -> None:
    plain = json.loads(json.dumps(recommendation().to_json()))
    assert (plain["agent"], plain["start"], plain["unsure"]) == ("bob", 2, 1)
    assert plain["state"] == {"level": 3.0}
    assert plain["plan"]["total"] == 9.0
    assert plain["plan"]["ends"] == 2
    assert plain["before"]["first_step"] == -2
    assert plain["before"]["recorded"] == [[1.5], [3.0]]
    assert (plain["recorded_total"], plain["recorded_total_before"]) == (3.25, 4.5)
    bare = recommendation(done=None, before=None, rewards_after=np.zeros(0)).to_json()
    assert "done" not in bare
    assert bare["recorded_total"] is None
