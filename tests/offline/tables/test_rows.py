"""The rows of a table in their order: gaps, closed days, missing values, short agents."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.offline import Transitions, read_table_report
from persim_gym.offline.tables.rows import DAY, OrderedRows, fixed_in_agents, labels_of, open_days
from persim_gym.offline.tables.sources import read_source
from tests.offline.worlds import long, read, table, with_value


def test_a_terminated_row_inside_a_named_episode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"column 'end' of agent 'b', row 1: the episode goes on"):
        read(table(end=[0, 1, 0, 0, 0, 1], e=0), terminated="end", episode="e")
    t = read(table(end=[0, 0, 1, 0, 0, 1], e=0), terminated="end", episode="e")
    assert t.terminated.tolist() == [False, True] * 2


def test_episodes_of_one_agent() -> None:
    frame = table(who="a", e=["second"] * 3 + ["first"] * 3)
    with pytest.raises(ValueError, match=r"two rows with 't' = 0 \(rows 0 and 3\).*episodes apart"):
        read(frame)
    t = read(frame, episode="e")
    assert t.agent.tolist() == [0] * 4
    assert t.episode.tolist() == [0, 0, 1, 1]
    assert t.obs[:, 0].tolist() == [3, 4, 0, 1]
    steps = read(frame, episode="e", time=None, step="t")
    assert steps.sha256() == t.sha256()


FIVE = {"who": ["a"] * 5, "t": [0, 1, 2, 3, 4], "x": [0.0, 1.0, 2.0, 3.0, 4.0]}


def five(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(FIVE | {"u": [0.1, 0.2, 0.3, 0.4, 0.5], "r": 1.0} | changes)


def pairs(t: Transitions) -> list[tuple[float, float]]:
    return list(zip(t.obs[:, 0].tolist(), t.next_obs[:, 0].tolist(), strict=True))


def test_a_trajectory_ends_at_a_gap() -> None:
    frame = five(t=[0, 1, 2, 3.6, 4.6])
    t, report = read_table_report(frame, agent="who", time="t", state="x", action="u")
    assert pairs(t) == [(0, 1), (1, 2), (3, 4)]
    assert t.episode.tolist() == [0, 0, 1]
    assert t.truncated.tolist() == [False, True, True]
    assert (report.gaps, report.step, report.max_gap) == (1, 1.0, 1.5)
    assert "split at 1 gap longer than 1.5" in str(report)


def daily(days: pd.DatetimeIndex) -> pd.DataFrame:
    """Two agents with a row on each of some days; the second one comes a week later."""
    n = len(days)
    return pd.DataFrame(
        {
            "who": np.repeat(["a", "b"], n),
            "t": [*days, *(days + pd.Timedelta(weeks=1))],
            "x": np.arange(2 * n, dtype=float),
            "u": np.tile([0.0, 1.0], n),
        }
    )


@pytest.mark.parametrize(
    ("shut", "said"),
    [("Sat Sun", "have a row are"), ("Sun", "has a row is"), ("Fri Sat", "2 days")],
)
@pytest.mark.parametrize("when", ["midnight", "clocks change on 31 March", "any hour"])
def test_closed_days_are_no_gaps(shut: str, said: str, when: str) -> None:
    zone = "Europe/Berlin" if "change" in when else None
    days = pd.date_range("2024-03-07", periods=60, tz=zone)
    frame = daily(days[~days.strftime("%a").isin(shut.split())])
    if when == "any hour":  # from ten in the evening to two in the morning
        frame["t"] += pd.to_timedelta(np.random.default_rng(0).uniform(22, 26, len(frame)), "h")
    t, report = read_table_report(frame, agent="who", time="t", state="x", action="u")
    assert report.trajectories == 2
    assert len(t) == len(frame) - 2
    assert report.step == pytest.approx(86_400, rel=0.1)
    assert said in str(report)
    assert "not counted as time" in str(report)
    # Whoever says what a gap is means hours and days.
    assert len(read(frame, state="x", max_gap=datetime.timedelta(days=1.4))) < len(t)


def test_a_holiday_is_a_gap_and_so_are_days_without_a_pattern() -> None:
    days = pd.bdate_range("2024-01-01", periods=40)
    frame = daily(days.delete(17))
    assert read_table_report(frame, agent="who", time="t", state="x", action="u")[1].gaps == 2
    every = pd.date_range("2024-01-01", periods=40)
    whole = read_table_report(daily(every), agent="who", time="t", state="x", action="u")[1]
    assert (whole.closed, whole.trajectories) == (0, 2)
    weekly = pd.date_range("2024-01-01", periods=10, freq="7D")
    mondays = read_table_report(daily(weekly), agent="who", time="t", state="x", action="u")[1]
    assert (mondays.closed, mondays.step) == (0, 7 * 86_400)
    hours = pd.date_range("2024-01-01", periods=800, freq="h")
    shop = hours[(hours.dayofweek < 5) & (hours.hour > 7)]
    assert read_table_report(daily(shop), agent="who", time="t", state="x", action="u")[1].gaps


def test_max_gap_decides_what_a_gap_is() -> None:
    frame = five(t=[0, 1, 2, 3.6, 4.6])
    assert len(read(frame, state="x", max_gap=1.6)) == 4
    assert len(read(frame, state="x", max_gap=1.59)) == 3
    dates = pd.Timestamp("2024-03-01") + pd.to_timedelta(frame["t"], unit="h")
    for gap, count in ((datetime.timedelta(hours=2), 4), (pd.Timedelta("90min"), 3), (7200, 4)):
        assert len(read(five(t=dates), state="x", max_gap=gap)) == count
    assert len(read(five(t=dates), state="x")) == 3


@pytest.mark.parametrize("column", ["x", "u", "r", "t", "who"])
def test_missing_values_are_refused_with_their_place(column: str) -> None:
    frame = with_value(column, 4, None)
    agent = "" if column in ("t", "who") else " of agent 'a'"
    message = rf"column '{column}'{agent}, row 4: the value is missing.*missing='drop'"
    with pytest.raises(ValueError, match=message):
        read(frame, reward="r")


def test_missing_values_end_a_trajectory_if_they_may() -> None:
    drop: dict[str, Any] = {"state": "x", "reward": "r", "missing": "drop", "max_gap": 100}
    assert pairs(read(five(x=[0, 1, None, 3, 4]), **drop)) == [(0, 1), (3, 4)]
    # A state is known there, only what was done in it is not.
    for lost in ({"u": [0.1, 0.2, None, 0.4, 0.5]}, {"r": [1, 1, None, 1, 1]}):
        t = read(five(**lost), **drop)
        assert pairs(t) == [(0, 1), (1, 2), (3, 4)]
        assert t.episode.tolist() == [0, 0, 1]
    assert pairs(read(five(t=[0, 1, None, 3, 4]), **drop | {"max_gap": 1})) == [(0, 1), (3, 4)]
    options = {"agent": "who", "time": "t", "action": "u"} | drop
    report = read_table_report(five(x=[0, 1, None, 3, 4]), **options)[1]
    assert (report.missing, report.trajectories, report.rows) == (1, 2, 5)


def test_agents_with_one_row() -> None:
    frame = table(who=["b", "b", "b", "lone", "a", "a"])
    with pytest.raises(ValueError, match=r"no two rows in sequence of agent 'lone',.*short='drop'"):
        read(frame)
    options = {"agent": "who", "time": "t", "state": "x", "action": "u", "short": "drop"}
    t, report = read_table_report(frame, **options)
    assert t.agent_names == ("a", "b")
    assert t.agent.tolist() == [0, 1, 1]
    assert (report.dropped_agents, report.lone_rows, report.agents) == (("lone",), 1, 2)
    with pytest.raises(ValueError, match="no agent has two rows in sequence: check the columns"):
        read(table(who=list("abcdef")), short="drop")


def test_many_agents_are_not_all_listed() -> None:
    frame = table(who=[*"abcdef"]).assign(t=0)
    frame = pd.concat([frame, pd.DataFrame({"who": ["z"] * 2, "t": [0, 1], "x": [0, 1], "u": 0.5})])
    with pytest.raises(ValueError, match="of agent 'a', 'b', 'c', 'd', 'e' and 1 more, so"):
        read(frame, state="x")


def test_rows_in_which_transitions_begin() -> None:
    frame = table()
    t, report = read_table_report(frame, agent="who", time="t", state="x", action="u")
    assert frame["x"].to_numpy()[report.begins].tolist() == t.obs[:, 0].tolist()
    assert labels_of(frame, "who", report.begins).tolist() == ["a", "a", "b", "b"]
    with pytest.raises(ValueError, match="row 4: the value is missing"):
        labels_of(with_value("who", 4, None), "who", report.begins)


def test_a_column_that_is_seldom_known_is_named() -> None:
    frame = long(x=np.where(np.arange(36) % 2 == 1, np.nan, 1.0))
    with pytest.raises(ValueError, match="row 1: the value is missing, as in 17 other rows of 36;"):
        read(frame, state="x")
    with pytest.raises(ValueError, match=r"sequence: values are missing \('x' in 18 of 36 rows\);"):
        read(frame, state="x", missing="drop", short="drop")


@pytest.mark.parametrize(
    ("gap", "error", "message"),
    [
        (0, ValueError, "max_gap must be positive, got 0"),
        (-1.0, ValueError, "max_gap must be positive"),
        (float("nan"), ValueError, "max_gap must be positive"),
        ("5", TypeError, "max_gap must be a number or a timedelta, got '5'"),
        (True, TypeError, "max_gap must be a number"),
        (datetime.timedelta(hours=1), TypeError, "times are plain numbers: give a number"),
    ],
)
def test_max_gap_is_checked(gap: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(five(), state="x", max_gap=gap)


def test_columns_that_are_each_agents_own() -> None:
    agent = np.repeat([0, 1, 2], 3)
    values = np.stack([agent, np.ones(9), np.arange(9)], axis=1)
    assert fixed_in_agents(values, agent).tolist() == [True, False, False]
    assert not fixed_in_agents(agent[::3, None], agent[::3]).any(), "one step each says nothing"


def test_open_days_follow_each_other() -> None:
    """Of four weeks from a Monday on without Sundays; noon each day."""
    day = np.array([k for k in range(28) if k % 7 != 6], dtype=float)
    time, closed = open_days((day + 0.5) * DAY, np.ones(len(day) - 1, dtype=bool))
    assert closed == 1
    assert np.diff(time).tolist() == [DAY] * (len(day) - 1)
    half = np.array([k for k in range(56) if k % 7 < 4], dtype=float)
    assert open_days((half + 0.5) * DAY, np.ones(len(half) - 1, dtype=bool))[1] == 0, "of three"
    short = day[:12]
    assert open_days((short + 0.5) * DAY, np.ones(11, dtype=bool))[1] == 0


def ordered(frame: pd.DataFrame, drop: bool = False) -> OrderedRows:
    names = ["who", "t", "x"]
    return OrderedRows(read_source(frame, names, ["who"], ["t"]), "who", "t", None, drop)


def test_rows_are_in_the_order_of_agent_and_time() -> None:
    rows = ordered(table().sample(frac=1.0, random_state=3))
    assert rows.names[rows.agent].tolist() == ["a"] * 3 + ["b"] * 3
    assert rows.time.tolist() == [0, 5, 10] * 2
    assert rows.same.tolist() == [True, True, False, True, True]
    nothing = np.zeros(6, dtype=bool)
    link, gaps, typical, longest = rows.links(None, nothing, nothing)
    assert link.tolist() == [True, True, False, True, True, False]
    assert (gaps, typical, longest) == (0, 5.0, 7.5)
    ended = nothing.copy()
    ended[1] = True
    assert rows.links(None, nothing, ended)[0].tolist() == [True, False, False, True, True, False]


def test_rows_without_a_key_are_dropped_where_they_may() -> None:
    frame = with_value("t", 4, None)
    with pytest.raises(ValueError, match="row 4: the value is missing"):
        ordered(frame)
    rows = ordered(frame, drop=True)
    assert (len(rows), rows.dropped) == (5, 1)
    assert rows.number.tolist() == [3, 5, 0, 1, 2]
    with pytest.raises(ValueError, match="no row of the table names agent and time"):
        ordered(table(t=None), drop=True)
