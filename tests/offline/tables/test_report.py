"""What became of a table's rows, in one line and in warnings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.offline import read_table_report
from persim_gym.offline.tables.report import TableReport, many, off_the_grid
from tests.offline.worlds import WORN, long, read, table


def test_a_summary_is_logged(logged: list[str]) -> None:
    read(table(y=1.0), name="counting")
    assert logged == [
        "counting: 6 rows of 2 agents: 4 transitions in 2 trajectories, median step 5; state "
        "columns that never change: 'y'"
    ]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (table(u=[1, 2] * 3), r"discrete actions: '1', '2' \(if they are amounts, say"),
        (table(t=[0, 3, 6, 0, 5, 10]), "steps of 3 to 5 all count as one: bring the rows"),
        (table()[table()["who"] == "a"][:2], "2 rows of 1 agent: 1 transition in 1 trajectory, "),
    ],
)  # fmt: skip
def test_what_may_surprise_is_said(frame: pd.DataFrame, says: str) -> None:
    options = {"agent": "who", "time": "t", "state": "x", "action": "u", "max_gap": 20}
    options |= {"discrete_actions": True} if len(frame) == 2 else {}
    assert re.search(says, str(read_table_report(frame, **options)[1]))


@pytest.mark.parametrize("kind", [bool, str, "category"])
def test_actions_that_are_no_numbers_are_no_surprise(kind: Any) -> None:
    frame = table(u=np.array([1, 0] * 3).astype(bool)).astype({"u": kind})
    options = {"agent": "who", "time": "t", "state": "x", "action": "u"}
    report = read_table_report(frame, **options)[1]
    assert not report.counted_off
    assert "amounts" not in str(report)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (long(np.arange(12) ** 1.5), "times between an agent's rows are no whole steps of"),
        (
            long([k + 1.5 * (k // 2) for k in range(12)]),
            "15 of 33 times between an agent's rows are",
        ),
        (long(x=WORN), "only 18 of 36 rows are part of a step, for .* .'x' in 12"),
        (long(u=np.repeat([0.5, 1.5, 2.5], 12)), r"no agent's action ever changes \('u'\)"),
        (
            long(x=np.repeat([1.0, 2.0, 3.0], 12)),
            "the state never changes from one row to the next",
        ),
        (long(u=np.repeat(["p", "q", "p"], 12)), r"no agent's action ever changes \('u'\)"),
    ],
)
def test_what_spoils_a_table_is_warned_of(frame: pd.DataFrame, says: str) -> None:
    with pytest.warns(UserWarning, match=says) as caught:
        read(frame, state="x", missing="drop")
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("frame", "options"),
    [
        (long(), {}),
        (long([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 30]), {}),  # a gap an agent
        (long([k + 2 * (k // 2) for k in range(12)]), {}),  # rows are missing
        (long(np.arange(12) ** 1.5), {"max_gap": 100}),
        (long(pd.date_range("2024-01-01", periods=12, freq="MS")), {}),
        (long(u=np.full(36, 2)), {"discrete_actions": True}),
    ],
)
def test_what_is_usual_is_not_warned_of(frame: pd.DataFrame, options: dict[str, Any]) -> None:
    read(frame, state="x", **options)


def test_covariates_are_named() -> None:
    frame = long(age=np.repeat([40.0, 50.0, 60.0], 12))
    report = read_table_report(frame, agent="who", time="t", state=["x", "age"], action="u")[1]
    assert report.covariates == ("age",)
    assert "state columns that never change within an agent: 'age'" in str(report)


PLAIN = TableReport(
    rows=40, agents=2, trajectories=3, transitions=30, step=5.0, max_gap=7.5, gaps=0, missing=0,
    lone_rows=0, dropped_agents=(), glitches={}, glitch_rows=0, constant=(), actions=(),
    untried=(), steps=(5.0, 5.0), used=33,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"gaps": 1}, "split at 1 gap longer than 7.5"),
        ({"gaps": 2, "dates": True, "max_gap": 7200.0}, "split at 2 gaps longer than 2 h"),
        ({"missing": 3}, "3 rows with a missing value left out"),
        ({"glitches": {"x": 2}, "glitch_rows": 1}, "1 row with a sensor's glitch left out"),
        (
            {"outliers": {"x": 2, "y": 1}, "outlier_agents": {"a": 3}},
            "3 values left out as outliers",
        ),
        ({"lone_rows": 1}, "1 row without a neighbour left out"),
        ({"dropped_agents": tuple("abcdefg")}, "'a', 'b', 'c', 'd', 'e' and 2 more"),
        ({"steps": (5.0, 6.1)}, "steps of 5 to 6.1 all count as one"),
        ({"steps": (5.0, 5.9)}, None),
        ({"closed": 1}, "a day of the week that never has a row is not counted as time"),
        ({"untried": ("up",), "actions": ("down", "up")}, "never taken: 'up'"),
    ],
)
def test_each_part_is_said_where_there_is_something_to_say(
    changes: dict[str, Any], says: str | None
) -> None:
    head = "40 rows of 2 agents: 30 transitions in 3 trajectories, median step "
    text = str(replace(PLAIN, **changes))
    assert text.startswith(head)
    if says is None:
        assert text == f"{head}5"
    else:
        assert says in text


def test_a_glitch_is_said_with_what_to_say_if_it_is_none() -> None:
    (said,) = replace(PLAIN, glitches={"x": 2, "y": 1}).warnings()
    assert "glitches of a sensor: 2 of 'x', 1 of 'y'" in said
    assert said.endswith("bounds={'x': (None, None), 'y': (None, None)}")
    assert PLAIN.warnings() == []


def test_outliers_are_said_with_columns_and_the_agent_of_most() -> None:
    (said,) = replace(PLAIN, outliers={"x": 3}, outlier_agents={"b": 3}).warnings()
    assert "as outliers, of 'b': 3 of 'x'" in said
    (said,) = replace(PLAIN, outliers={"x": 3}, outlier_agents={"b": 2, "a": 1}).warnings()
    assert "left out as outliers, of 2 agents, the most (2) of 'b': 3 of 'x'" in said
    assert said.endswith("bounds={'x': (None, None)}")


def test_times_off_the_grid_are_no_whole_steps() -> None:
    between = np.array([5.0, 5.9, 6.1, 10.9, 11.1, 0.1])
    assert off_the_grid(between, 5.0).tolist() == [False, False, True, False, True, True]


def test_counts_have_their_plural() -> None:
    assert [many(1, "row"), many(2, "row"), many(2, "trajectory")] == [
        "1 row",
        "2 rows",
        "2 trajectories",
    ]
