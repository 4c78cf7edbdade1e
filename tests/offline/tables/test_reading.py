"""Tables: every option, every refusal, and that nothing is lost on the way."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persim_gym.offline import Transitions, read_table, read_table_report
from tests.offline.worlds import read, table, with_value


def test_rows_are_observations_and_a_row_begins_a_step() -> None:
    t = read(table(), reward="r", name="counting")
    assert t.agent_names == ("a", "b")
    assert (t.obs_names, t.action_names) == (("x", "y"), ("u",))
    assert (t.task_name, t.dataset_id, t.num_agents) == ("counting", "counting", 2)
    assert t.agent.tolist() == [0, 0, 1, 1]
    assert t.obs[:, 0].tolist() == [3, 4, 0, 1]
    assert t.next_obs[:, 0].tolist() == [4, 5, 1, 2]
    np.testing.assert_array_equal(t.action, np.array([[0.4], [0.5], [0.1], [0.2]], np.float32))
    assert t.reward.tolist() == [13, 14, 10, 11]
    assert t.truncated.tolist() == [False, True, False, True]
    assert not t.terminated.any()
    assert t.episode.tolist() == [0, 0, 1, 1]
    assert t.obs.dtype == t.next_obs.dtype == np.float32


def test_order_of_rows_and_columns_does_not_matter() -> None:
    shuffled = table().sample(frac=1.0, random_state=1)[["r", "u", "y", "x", "t", "who"]]
    assert read(shuffled, reward="r").sha256() == read(table(), reward="r").sha256()
    assert read(shuffled, reward="r").reward.tolist() == [13, 14, 10, 11]
    turned = read(table(), state=["y", "x"])
    assert turned.obs_names == ("y", "x")
    assert turned.obs[0].tolist() == [0, 3]


def test_without_a_reward_it_is_zero() -> None:
    assert not read(table()).reward.any()


def test_one_state_column_needs_no_list() -> None:
    assert read(table(), state="x").obs.shape == (4, 1)


def test_several_actions_are_a_box() -> None:
    t = read(table(), state=["x"], action=["u", "r"])
    assert t.action.shape == (4, 2)
    assert t.action_names == ("u", "r")


def test_agents_are_numbered_in_natural_order() -> None:
    names = ["p10", "p10", "p9", "p9", "p2", "p2"]
    assert read(table(who=names, t=[0, 1] * 3)).agent_names == ("p2", "p9", "p10")
    numbers = [100, 100, 9, 9, 20, 20]
    t = read(table(who=numbers, t=[0, 1] * 3))
    assert t.agent_names == ("9", "20", "100")
    assert t.agent.tolist() == [0, 1, 2]


def test_times_may_be_dates_and_text() -> None:
    plain = read(table())
    dates = pd.Timestamp("2024-03-01") + pd.to_timedelta(table()["t"], unit="min")
    for times in (dates, dates.dt.tz_localize("UTC"), dates.astype(str), dates - dates.min()):
        assert read(table(t=times)).sha256() == plain.sha256()
    report = read_table_report(table(t=dates), agent="who", time="t", state="x", action="u")[1]
    assert report.step == 300.0


def test_actions_at_the_end_of_a_trajectory_are_not_needed() -> None:
    frame = table(u=[0.1, 0.2, np.nan, 0.4, 0.5, np.nan], r=[10.0, 11.0, None, 13.0, 14.0, None])
    t = read(frame, reward="r")
    assert t.sha256() == read(table()).sha256()
    assert t.reward.tolist() == [13, 14, 10, 11]


def test_a_terminated_row_holds_the_state_that_ended_the_episode() -> None:
    t = read(table(end=[0, 1, 0, 0, 0, 1]), terminated="end", short="drop")
    # Agent b's second row is terminal: nothing begins there, and its third row stands alone.
    assert t.next_obs[:, 0].tolist() == [4, 5, 1]
    assert t.terminated.tolist() == [False, True, True]
    assert t.truncated.tolist() == [False, False, False]


def test_after_a_terminated_row_a_new_trajectory_begins() -> None:
    frame = pd.DataFrame(
        {"who": 1, "t": range(6), "x": range(6), "u": np.arange(6) / 7, "end": [0, 0, 1, 0, 0, 0]}
    )
    t, report = read_table_report(
        frame, agent="who", time="t", state="x", action="u", terminated="end"
    )
    assert t.obs[:, 0].tolist() == [0, 1, 3, 4]
    assert t.episode.tolist() == [0, 0, 1, 1]
    assert t.terminated.tolist() == [False, True, False, False]
    assert t.truncated.tolist() == [False, False, False, True]
    assert (report.trajectories, report.gaps, report.lone_rows) == (2, 0, 0)


@pytest.mark.parametrize(
    ("values", "codes", "labels"),
    [
        ([True, False, True, True, False, False], [1, 0, 1, 0], ("False", "True")),
        (["up", "down", "up", "up", "stay", "up"], [2, 1, 2, 0], ("down", "stay", "up")),
        ([7, 3, 7, 5, 3, 3], [1, 0, 2, 0], ("3", "5", "7")),
        ([7, 3, None, 5, 3, None], [1, 0, 2, 0], ("3", "5", "7")),
        (["up", "down", None, "up", "down", None], [1, 0, 1, 0], ("down", "up")),
        (
            pd.Categorical(["up", "down", "up", "up", "up", "up"], ["up", "stay", "down"]),
            [0, 0, 0, 2],
            ("up", "stay", "down"),
        ),
    ],
)
def test_few_values_are_discrete(values: Any, codes: list[int], labels: tuple[str, ...]) -> None:
    options = {"agent": "who", "time": "t", "state": "x", "action": "u"}
    t, report = read_table_report(table(u=values), **options)
    assert t.action.dtype == np.int64
    assert t.action.tolist() == codes
    assert report.actions == t.action_labels == labels
    untried = [label for k, label in enumerate(labels) if k not in codes]
    assert list(report.untried) == untried
    assert ("never taken" in str(report)) == bool(untried)


def test_numbers_are_continuous() -> None:
    many = pd.DataFrame({"who": 0, "t": range(12), "x": range(12), "u": range(12)})
    assert read(many, state="x").action.shape == (11, 1)
    assert read(many.assign(u=many["u"] % 10), state="x").action.shape == (11,)
    assert read(table(u=[0.0, 1.0, 0.0, 1.0, 0.0, 1.0])).action.shape == (4, 1)


def test_discrete_actions_decides() -> None:
    halves = table(u=[0.5, 1.5, 0.5, 0.5, 1.5, 1.5])
    assert read(halves).action.shape == (4, 1)
    assert read(halves, discrete_actions=True).action.tolist() == [0, 1, 0, 1]
    whole = table(u=[1, 2, 1, 1, 2, 1])
    assert read(whole, discrete_actions=False).action.tolist() == [[1], [2], [1], [2]]
    assert read(whole, discrete_actions=[2, 9, 1]).action.tolist() == [2, 0, 2, 0]
    with pytest.raises(ValueError, match=r"column 'u' of agent 'a', row 3: 1 is none of .*\[2\]"):
        read(whole, discrete_actions=[2])
    with pytest.raises(ValueError, match="names a value twice"):
        read(whole, discrete_actions=[1, 2, 1])
    with pytest.raises(ValueError, match="discrete actions are one column, got 2: u, r"):
        read(whole, state="x", action=["u", "r"], discrete_actions=True)
    with pytest.raises(TypeError, match="must be True, False or a list, got 'yes'"):
        read(whole, discrete_actions="yes")
    with pytest.raises(ValueError, match="'up' is no number"):
        read(table(u="up"), discrete_actions=False)


def test_too_many_categories() -> None:
    frame = pd.DataFrame({"who": 0, "t": range(120), "x": range(120)})
    frame["u"] = [f"dose {i}" for i in range(120)]
    with pytest.raises(ValueError, match=r"column 'u' has 120 different values.*at most 100"):
        read(frame, state="x")


def test_an_action_that_never_varies() -> None:
    with pytest.raises(ValueError, match=r"column 'u': the action is 0.5 in every row"):
        read(table(u=0.5))
    assert read(table(u=0.5), discrete_actions=True).action.tolist() == [0] * 4


def test_agents_to_which_nothing_is_done() -> None:
    t, report = read_table_report(table(), agent="who", time="t", state=["x"], action=[])
    assert (t.action_names, t.action_labels) == (("no action",), ("none",))
    assert t.action.tolist() == [0] * 4
    assert t.source is not None
    assert t.source["columns"]["action"] == []
    assert "action" not in str(report)


@pytest.mark.parametrize(
    "words", [("no", "yes"), ("N", "Y"), ("FALSE", "TRUE"), ("off", "on"), ("f", "t"), ("no", "no")]
)
@pytest.mark.parametrize("made", [list, pd.Categorical])
def test_words_of_yes_and_no_are_numbers(words: tuple[str, str], made: Any) -> None:
    said = made([words[k] for k in (0, 1, 1, 0, 1, 0)])
    number = [float(words[k] != words[0]) for k in (0, 1, 1, 0, 1, 0)]
    frame = table(x=said, v=said, end=made([words[0]] * 5 + [words[1]]))
    plain = {"agent": "who", "time": "t", "state": ["x", "y"], "action": ["u", "v"]}
    if words[0] == words[1]:  # an action that never varies is refused
        plain["action"] = "u"
    t, report = read_table_report(frame, **plain, terminated="end")
    assert t.obs[:, 0].tolist() == [number[3], number[4], number[0], number[1]]
    assert t.terminated.tolist() == [False, words[0] != words[1], False, False]
    assert report.worded[0] == "x"
    assert "yes and no read as 1 and 0: 'x'" in str(report)
    assert t.action.shape[1] == 1 or t.action[:, 1].tolist() == [number[k] for k in (3, 4, 0, 1)]


def test_words_of_yes_and_no_in_a_file_may_be_missing(tmp_path: Path) -> None:
    table(x=["no", "yes", "yes", "yes", None, "no"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="column 'x' of agent 'a', row 4: the value is missing"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (with_value("x", 4, np.inf), "column 'x' of agent 'a', row 4: inf is not finite"),
        (with_value("u", 1, -np.inf), "column 'u' of agent 'b', row 1: -inf is not finite"),
        (with_value("x", 4, 1e39), r"column 'x' of agent 'a', row 4: 1e\+39 is too large"),
        (with_value("x", 4, "high"), "column 'x' of agent 'a', row 4: 'high' is no number"),
        (with_value("x", 4, "4.0"), "row 4: '4.0' is no number; convert the column"),
        (with_value("u", 4, "high"), "column 'u' mixes text and other values"),
        (with_value("r", 4, "high"), "column 'r' of agent 'a', row 4: 'high' is no number"),
        (with_value("t", 4, "noon"), "column 't' of agent 'a', row 4: 'noon' is text, 0 in row"),
        (table(t=["2024-01-01", "noon"] * 3), "column 't' of agent 'b', row 1: 'noon' is no date"),
        (with_value("who", 4, 7), "column 'who', row 4: .*mixes text .* and other values"),
        (table(who=[1.5] * 6), "column 'who', row 0: 1.5 is neither text nor whole"),
        (table(x=pd.Timestamp("2024-01-01")), "column 'x' must hold numbers, it holds datetime64"),
        (table(x=1j), "column 'x' must hold numbers, it holds complex"),
        (table(end=[0, 2, 0, 0, 0, 0]), "column 'end' of agent 'b', row 1: 2 is neither true"),
        (table(t=[0, 5, 5, 0, 5, 10]), r"agent 'b' has two rows with 't' = 5 \(rows 1 and 2\)"),
        (table().drop(columns="x"), r"no column 'x'.*: it has 'who', 't', 'y', 'u'"),
        (table().rename(columns={"who": "Who"}), r"no column 'who' \(did you mean 'Who'\?\)"),
        (pd.concat([table(), table()[["x"]]], axis=1), "the table has 2 columns named 'x'"),
        (table()[:0], "the table has no rows"),
        (table(t=["01/03/2024"] * 6), "is no date such as .*: write the year first"),
        (table(x=["1,5"] * 6), "'1,5' is no number; write decimal points"),
        (table(end=["maybe"] * 6), "column 'end' of agent 'a', row 3: 'maybe' is neither true"),
        (table(x=["low", "high"] * 3), "row 3: 'high' is no number; the column has 2 different wo"),
        (table(x=["yes", "high"] * 3), "row 3: 'high' is no number; the column has 2 different wo"),
    ],
)
def test_bad_tables(frame: pd.DataFrame, message: str) -> None:
    end = "end" if "end" in frame else None
    with pytest.raises(ValueError, match=message):
        read(frame, reward="r", terminated=end)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"agent": 3}, ValueError, "the table has no column 3: it has 'who'"),
        ({"missing": "fill"}, ValueError, "missing must be 'error' or 'drop', got 'fill'"),
        ({"short": "keep"}, ValueError, "short must be 'error' or 'drop', got 'keep'"),
        ({"name": " "}, ValueError, "name must be a word"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(table(), **options)


def test_angles_are_told_of_a_table() -> None:
    pairs = table().assign(c=[1.0, 0.0, -1.0] * 2, s=[0.0, 1.0, 0.0] * 2)
    plain = read(pairs, state=["c", "s", "x"])
    data = read(pairs, state=["c", "s", "x"], angles=[("c", "s"), ("x", 360)])
    assert (data.angles, data.circles) == (((2, 360.0),), ((0, 1),))
    assert (plain.angles, plain.circles) == ((), ())
    assert plain.sha256() != data.sha256()
    assert data.select(data.step == 0).circles == ((0, 1),)
    with pytest.raises(ValueError, match="no state column: there are c, s, x"):
        read(pairs, state=["c", "s", "x"], angles=["u"])


def test_a_file_called_as_a_task_is_not_taken_for_one(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "cartpole.csv", index=False)
    assert read(tmp_path / "cartpole.csv").task_name == "cartpole-table"
    assert read(tmp_path / "cartpole.csv", name="cartpole").task_name == "cartpole"


def as_table(t: Transitions) -> pd.DataFrame:
    """A row for each observation, the last one of each trajectory included."""
    assert t.agent_names is not None
    rows = []
    for start, length in zip(t.starts.tolist(), t.lengths.tolist(), strict=True):
        for i in range(start, start + length + 1):
            last = i == start + length
            seen = t.next_obs[i - 1] if last else t.obs[i]
            row: dict[str, Any] = {
                "who": t.agent_names[t.agent[start]],
                "e": t.episode[start],
                "t": i - start,
                "r": np.nan if last else t.reward[i],
                "end": last and t.terminated[i - 1],
            }
            row |= {f"x{j}": float(value) for j, value in enumerate(seen)}
            if t.action.ndim == 1:
                row["u"] = None if last else f"act {t.action[i]}"
            else:
                row |= {
                    f"u{j}": np.nan if last else float(v) for j, v in enumerate(t.action[i - last])
                }
            rows.append(row)
    return pd.DataFrame(rows)


@st.composite
def recordings(draw: st.DrawFn) -> Transitions:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    agents = draw(st.integers(1, 4))
    d, a = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    per_agent = draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3),
                              min_size=agents, max_size=agents))  # fmt: skip
    lengths = [length for own in per_agent for length in own]
    n = sum(lengths)
    agent = np.repeat(np.repeat(np.arange(agents), [len(own) for own in per_agent]), lengths)
    path = rng.normal(size=(n + len(lengths), d)).astype(np.float32)
    first = np.concatenate([np.arange(k) + s for k, s in zip(
        lengths, np.cumsum([0, *(k + 1 for k in lengths[:-1])]), strict=True)])  # fmt: skip
    last = np.zeros(n, dtype=np.bool_)
    last[np.cumsum(lengths) - 1] = True
    terminated = last & (rng.random(n) < 0.5)
    return Transitions(
        agent=agent,
        obs=path[first],
        action=rng.normal(size=(n, a)).astype(np.float32) if a else rng.integers(3, size=n),
        next_obs=path[first + 1],
        reward=rng.normal(size=n),
        terminated=terminated,
        truncated=last & ~terminated,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        num_agents=agents,
        task_name="random",
        dataset_id="random",
        agent_names=tuple(f"agent {k}" for k in range(agents)),
        obs_names=tuple(f"x{j}" for j in range(d)),
        action_names=tuple(f"u{j}" for j in range(a)) if a else ("u",),
        action_labels=None if a else ("act 0", "act 1", "act 2"),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(0, 100))
def test_a_table_made_from_transitions_gives_them_back(t: Transitions, seed: int) -> None:
    discrete = t.action.ndim == 1
    if len(np.unique(t.action, axis=0)) == 1:
        return  # an action that never varies is warned of, or is an error
    assert t.obs_names is not None
    assert t.action_names is not None
    again = read_table(
        as_table(t).sample(frac=1.0, random_state=seed),
        agent="who",
        episode="e",
        step="t",
        state=t.obs_names,
        action=t.action_names,
        reward="r",
        terminated="end",
        discrete_actions=[f"act {k}" for k in range(3)] if discrete else None,
        name="random",
    )
    for name in ("agent", "obs", "action", "next_obs", "reward", "terminated", "truncated",
                 "episode"):  # fmt: skip
        ours, theirs = getattr(again, name), getattr(t, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    for name in ("num_agents", "task_name", "dataset_id", "agent_names", "obs_names",
                 "action_names", "action_labels"):  # fmt: skip
        assert getattr(again, name) == getattr(t, name)


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tables.md").read_text()
    section = page.split("## Options of `read_table`")[1].split("###")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert set(documented) == set(list(inspect.signature(read_table).parameters)[1:])
    assert list(inspect.signature(read_table_report).parameters) == list(
        inspect.signature(read_table).parameters
    )
