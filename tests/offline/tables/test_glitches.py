"""Values of a faulty sensor, and leaps that are none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.record import columns_for, read_with
from persim_gym.offline import read_table
from persim_gym.offline.tables.glitches import glitches
from persim_gym.offline.tables.reading import read_table_report
from tests.offline.tables.sensors import AGENTS, FOLLOWS, REAL, STEPS, Floats, World, smooth, walk


def spoilt(values: Floats, share: float, kind: str) -> tuple[Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng(7)
    bad = rng.random(values.shape) < share
    size = values.std(axis=0)
    away = {
        "far": values
        + rng.choice([-1, 1], values.shape) * rng.uniform(10, 100, values.shape) * size,
        "of one value": np.broadcast_to(values.max(axis=0) + 30 * size, values.shape),
        "stuck at zero": np.zeros_like(values),
    }[kind]
    return np.where(bad, away, values), bad


@pytest.mark.parametrize("share", [0.007, 0.01, 0.02])
@pytest.mark.parametrize("kind", ["far", "of one value", "stuck at zero"])
def test_glitches_are_found_and_nothing_else(kind: str, share: float) -> None:
    values, actions = smooth(np.random.default_rng(0))
    if kind == "stuck at zero":  # which is far from the second column alone
        values[:, 0] += 500
    seen, bad = spoilt(values, share, kind)
    found = glitches(seen, FOLLOWS, actions)
    assert (found & bad).sum() >= 0.97 * bad.sum()
    assert (found & ~bad).sum() <= 1


def test_a_few_glitches_are_found_where_they_are_out_of_range() -> None:
    values, actions = smooth(np.random.default_rng(0))
    for size, expected in ((1000.0, True), (20.0, False)):
        seen = values.copy()
        seen[250, 0] += size
        assert glitches(seen, FOLLOWS, actions).any() == expected


@pytest.mark.parametrize(("second", "expected"), [(150, False), (120, True)])
def test_two_leaps_are_no_glitches_where_they_come_to_both_agents_at_once(
    second: int, expected: bool
) -> None:
    values, actions = smooth(np.random.default_rng(0))
    seen = values[: 2 * STEPS].copy()
    seen[[50, second], 0] += 1000.0
    assert glitches(seen, FOLLOWS[: len(seen) - 1], actions[: len(seen)]).any() == expected


def test_a_sensor_that_is_stuck_is_found_where_other_values_are_beside_it() -> None:
    values, actions = smooth(np.random.default_rng(0))
    values[:, 0] = np.cumsum(values[:, 0].reshape(AGENTS, STEPS), axis=1).ravel()
    seen, bad = spoilt(values, 0.01, "stuck at zero")
    found = glitches(seen, FOLLOWS, actions)
    assert (found == bad)[:, 0].all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("world", REAL, ids=lambda world: str(world.__name__))
def test_what_really_happens_is_no_glitch(
    world: Callable[[np.random.Generator], World], seed: int
) -> None:
    values, actions = world(np.random.default_rng(seed))
    assert not glitches(values, FOLLOWS, actions).any()


@pytest.mark.parametrize("kind", ["few", "many", "rough", "stuck"])
def test_missing_values_and_codes_change_nothing_of_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = walk(rng, 0.2 if kind == "rough" else 0.95).ravel()
    bad = rng.choice(np.arange(1, len(values) - 1), 1 if kind == "few" else 12, replace=False)
    if kind == "stuck":
        values = np.cumsum(values.reshape(AGENTS, STEPS), axis=1).ravel()
        values[bad] = 0.0
    else:
        values[bad] += 1000.0 if kind == "few" else 20.0
    whose, time = np.divmod(np.arange(len(values)), STEPS)
    frame = pd.DataFrame({"who": whose, "t": time, "x": values, "pump": rng.normal(size=len(time))})
    names: dict[str, Any] = {
        "agent": "who",
        "time": "t",
        "state": "x",
        "action": "pump",
        "missing": "drop",
    }
    whole = int(glitches(values[:, None], FOLLOWS, frame[["pump"]].to_numpy()).sum())
    assert (whole > 0) == (kind != "rough")
    away = rng.choice(np.setdiff1d(np.arange(len(values)), bad), 15, replace=False)
    for lost, how_many in ((np.nan, 15), (-99999.0, 3)):
        spoiled = frame.copy()
        spoiled.loc[away[:how_many], "x"] = lost
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_table_report(spoiled, **names)[1].glitches.get("x", 0)
        assert (found > 0) == (whole > 0)
        assert abs(found - whole) <= 2  # those beside a row that is left out are not known


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_a_record_of_a_few_rows_has_none(rows: int) -> None:
    values = np.array([[0.0], [1e9], [0.0]])[:rows]
    assert not glitches(values, np.ones(max(0, rows - 1), dtype=bool), values).any()


def table(spoil: bool) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    values, actions = smooth(np.random.default_rng(0))
    bad = np.zeros(values.shape, dtype=bool)
    if spoil:
        values, bad = spoilt(values, 0.01, "far")
    whose, time = np.divmod(np.arange(AGENTS * STEPS), STEPS)
    columns = {"who": whose.astype(str), "t": time, "pump": actions[:, 0]}
    return pd.DataFrame(columns | {"level": values[:, 0], "flow": values[:, 1]}), bad


COLUMNS: dict[str, Any] = {
    "agent": "who",
    "time": "t",
    "state": ["level", "flow"],
    "action": "pump",
}


def test_rows_with_a_glitch_are_left_out_of_a_table_and_counted() -> None:
    clean, _ = table(spoil=False)
    spoilt_, bad = table(spoil=True)
    whole = read_table(clean, **COLUMNS)
    assert "notes" not in (whole.source or {})
    counts = f"{bad[:, 0].sum()} of 'level', {bad[:, 1].sum()} of 'flow'"
    with pytest.warns(UserWarning, match=f"glitches of a sensor: {counts}; if they are values"):
        found, report = read_table_report(spoilt_, **COLUMNS)
    gone = clean[~bad.any(axis=1)]
    assert f"{len(clean) - len(gone)} rows with a sensor's glitch left out" in str(report)
    np.testing.assert_array_equal(found.obs, read_table(gone, **COLUMNS, max_gap=1.5).obs)
    said = {"level": (None, None), "flow": (-1e5, None)}
    kept = read_table(spoilt_, **COLUMNS, bounds=said)
    assert len(kept) == len(whole)
    card = json.loads(json.dumps({"source": kept.source}))
    assert read_with(spoilt_, columns_for(card)).sha256() == kept.sha256()


def test_a_card_tells_of_glitches() -> None:
    with pytest.warns(UserWarning, match="glitches of a sensor"):
        data = read_table(table(spoil=True)[0], **COLUMNS)
    sim = PerSim.fit(data, method="als", degree=1, rank=1, ensemble_size=1, progress=False)
    (note,) = (n for n in sim.card["metrics"]["notes"] if "glitches" in n)
    assert "bounds={'level': (None, None), 'flow': (None, None)}" in note
