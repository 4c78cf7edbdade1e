"""Bounds and units that are declared: read, checked, kept."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from persim_gym.offline import declare, keep_declared, read_table, read_transitions, record
from persim_gym.offline.datasets import open_dataset
from persim_gym.offline.declared import DECLARED

pandas = pytest.importorskip("pandas")

TABLE = pandas.DataFrame(
    {"id": ["a"] * 3 + ["b"] * 3, "t": [0, 1, 2] * 2, "ferritin": [10.0, 5.0, 0.0, 7.0, 3.0, 1.0],
     "trend": [-1.0, 0.5, 0.2] * 2, "dose": [0.1, 0.2, 0.3] * 2}
)  # fmt: skip
COLUMNS: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["ferritin", "trend"], "action": "dose",
}  # fmt: skip


def test_a_table_with_bounds_and_units() -> None:
    data = read_table(
        TABLE, **COLUMNS, bounds={"ferritin": (0, None)}, units={"ferritin": "ug/L", "dose": "mg"}
    )
    assert data.bounds == ((0, 0.0, math.inf),)
    assert (data.obs_units, data.action_units) == (("ug/L", ""), ("mg",))
    assert data.obs_labels == ("ferritin (ug/L)", "trend")
    assert data.select(data.agent == 0).bounds == data.bounds
    assert data.select(data.agent == 0).obs_units == data.obs_units
    plain = read_table(TABLE, **COLUMNS)
    assert (plain.bounds, plain.obs_units, plain.obs_labels) == ((), None, ("ferritin", "trend"))
    again = declare(plain, {"ferritin": (0, None)}, {"ferritin": "ug/L", "dose": "mg"})
    assert again.sha256() == data.sha256() != plain.sha256()
    wider = declare(data, {"trend": [None, 4]})
    assert wider.bounds == ((0, 0.0, math.inf), (1, -math.inf, 4.0))


def test_coordinates_without_names_go_by_index() -> None:
    data = replace(read_table(TABLE, **COLUMNS), obs_names=None, action_names=None)
    found = declare(data, {0: (0, None), "1": (-2, 2)}, {1: "1/h", "action": "mg"})
    assert found.bounds == ((0, 0.0, math.inf), (1, -2.0, 2.0))
    assert (found.obs_units, found.action_units) == (("", "1/h"), ("mg",))


@pytest.mark.parametrize(
    ("declared", "error", "message"),
    [
        ({"bounds": ["ferritin"]}, TypeError, "bounds must be a mapping"),
        ({"bounds": {"feritin": (0, 1)}}, ValueError, "no coordinate: there are ferritin, trend"),
        ({"bounds": {"dose": (0, 1)}}, ValueError, "no coordinate"),
        ({"bounds": {"ferritin": 0}}, ValueError, r"\(least, largest\)"),
        ({"bounds": {"ferritin": "01"}}, ValueError, r"\(least, largest\)"),
        ({"bounds": {"ferritin": (0, "x")}}, ValueError, "a finite number"),
        ({"bounds": {"ferritin": (0, math.nan)}}, ValueError, "a finite number"),
        ({"bounds": {"ferritin": (9, 3)}}, ValueError, "must ascend, got 9 to 3"),
        ({"bounds": {"ferritin": (2, None)}}, ValueError, "'ferritin' of agent a is 0, outside"),
        ({"bounds": {"ferritin": (0, 8)}}, ValueError, "agent a is 10, outside"),
        ({"bounds": {"ferritin": (0, None)}, "angles": ["ferritin"]}, ValueError, "as an angle"),
        ({"units": {"feritin": "g"}}, ValueError, "there are ferritin, trend, dose"),
        ({"units": {"ferritin": 3}}, TypeError, "the unit of 'ferritin'"),
        ({"units": "ug"}, TypeError, "units must be a mapping"),
    ],
)
def test_wrong_declarations_are_refused(
    declared: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_table(TABLE, **COLUMNS, **declared)


@pytest.mark.usefixtures("root")
def test_a_minari_data_set_keeps_them() -> None:
    dataset = record("PerSim-CartPole-v0", agents=2, max_episode_steps=5)
    data = replace(read_transitions(dataset), task_name="mine")
    with pytest.raises(ValueError, match="the space of task 'cartpole' is known"):
        declare(read_transitions(dataset), {0: (-9, 9)})
    made = declare(data, {0: (-9, None), 2: (None, None)}, {0: "m"})
    keep_declared(open_dataset(dataset.id), made)
    found = read_transitions(dataset.id)
    assert (found.bounds, found.obs_units) == (made.bounds, made.obs_units)
    assert np.isinf(found.bounds[1][1:]).all()
    open_dataset(dataset.id).storage.update_metadata({DECLARED: {"bounds": [["x", 3]]}})
    with pytest.raises(ValueError, match="can not be read"):
        read_transitions(dataset.id)


def test_columns_of_several_levels_are_named_by_tuples() -> None:
    name = ("ferritin", "mean")
    table = TABLE.rename(columns={"ferritin": name})
    data = read_table(
        table,
        **COLUMNS | {"state": [name, "trend"]},
        bounds={name: (0, None)},
        units={name: "ug/L"},
    )
    assert data.bounds == ((0, 0.0, math.inf),)
    assert data.obs_units == ("ug/L", "")
