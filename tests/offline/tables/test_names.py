"""Which column of a table is what, checked before the table is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.offline.tables.names import ColumnNames, source_of
from tests.offline.worlds import read, table

NOTHING = dict.fromkeys(("reward", "terminated", "episode", "step", "discrete"))


def named(**changes: Any) -> ColumnNames:
    plain = {"agent": "who", "time": "t", "state": ["x", "y"], "action": "u"}
    return ColumnNames.named(**{**NOTHING, **plain, **changes})


def test_names_are_text_and_what_is_used_is_as_it_was_given() -> None:
    found = named(agent=7, state=[("a", "b"), np.int64(3)], reward="r")
    assert (found.agent, found.order, found.reward) == ("7", "t", "r")
    assert (found.state, found.action) == (("a.b", "3"), ("u",))
    assert (found.episode, found.terminated) == (None, None)
    assert found.used == [7, "t", "r", ("a", "b"), 3, "u"]
    assert type(found.used[4]) is int


def test_one_name_needs_no_list_and_no_action_none() -> None:
    found = named(state="x", action=[])
    assert (found.state, found.action) == (("x",), ())
    assert named(time=None, step="k").order == "k"
    with pytest.raises(TypeError, match=r"a string or a whole number.*got None"):
        named(state=None)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"time": None}, ValueError, "orders an agent's rows: time= or step="),
        ({"step": "t"}, ValueError, "either time= or step=, and not both"),
        ({"state": []}, ValueError, "name at least one column of the state"),
        ({"action": [], "discrete_actions": True}, ValueError, "leave discrete_actions out"),
        (
            {"action": ["u", "r"], "discrete_actions": [1]},
            ValueError,
            "are one column, got 2: u, r",
        ),
        ({"state": ["x", "u"]}, ValueError, "column 'u' is named twice among state and action"),
        ({"state": ["x", 3.0]}, TypeError, "named by a string or a whole number.*, got 3.0"),
        ({"agent": True}, TypeError, "named by a string or a whole number.*, got True"),
        ({"reward": ("r", 1.5)}, TypeError, "where columns have several levels"),
        ({"episode": ()}, TypeError, "named by a string or a whole number"),
    ],
)
def test_what_is_named_wrongly_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(table(), **options)


def test_where_a_table_is_from_is_kept_as_plain_types() -> None:
    found = named(agent=np.int64(7), action=[], episode="e")
    given: dict[str, Any] = {
        "discrete_actions": [np.int64(1), 2], "missing": "error", "max_gap": None, "units": [],
        "bounds": (), "short": "drop",
    }  # fmt: skip
    source = source_of(Path("a") / "b.csv", found, np.float64(2.5), False, False, **given)
    assert source == {
        "path": str(Path("a") / "b.csv"),
        "columns": {
            "agent": "7", "time": "t", "episode": "e", "state": ["x", "y"], "action": [],
            "discrete_actions": [1, 2], "short": "drop",
        },
        "step": 2.5,
    }  # fmt: skip
    assert type(source["columns"]["discrete_actions"][0]) is int
    own = source_of(table(), named(time=None, step="k"), 1.0, True, True)
    assert own["columns"]["step"] == "k"
    assert own["dates"] is True
    assert "path" not in own
