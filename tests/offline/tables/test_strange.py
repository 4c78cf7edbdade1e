"""Which values of a table count as none, and what is said of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.record import columns_for, read_with
from persim_gym.offline import read_table
from persim_gym.offline.tables.reading import read_table_report
from persim_gym.offline.tables.strange import Strange, by_agent, counted
from tests.offline.tables.sensors import AGENTS, FOLLOWS, REAL, STEPS, World
from tests.offline.tables.springs import AGENT, driven, with_wrong

COLUMNS: dict[str, Any] = {
    "agent": "who",
    "time": "t",
    "state": ["place", "speed"],
    "action": "force",
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("world", REAL, ids=lambda world: str(world.__name__))
def test_what_really_happens_is_left_in(
    world: Callable[[np.random.Generator], World], seed: int
) -> None:
    values, actions = world(np.random.default_rng(seed))
    whose, time = np.divmod(np.arange(AGENTS * STEPS), STEPS)
    free = [False] * values.shape[1]
    found = Strange.of(values, FOLLOWS, actions, time.astype(float), whose, (), free)
    assert not found.rows.any()


@pytest.mark.parametrize("seed", range(3))
def test_pulses_of_a_column_without_memory_are_left_in(seed: int) -> None:
    """The power of one household, in which a kettle boils in every twenty-fifth row."""
    rng = np.random.default_rng(seed)
    rows = 2000
    power = 80 + 3 * rng.standard_normal(rows)
    boils = rng.random(rows) < 0.04
    power[boils] = rng.uniform(1500, 3000, boils.sum())
    found = Strange.of(
        power[:, None],
        np.ones(rows - 1, dtype=np.bool_),
        rng.uniform(-1, 1, (rows, 1)),
        np.arange(rows, dtype=np.float64),
        np.zeros(rows, dtype=np.int64),
        (),
        [False],
    )
    assert not found.rows.any()


@pytest.mark.parametrize(("wrong", "left_out"), [(5, 0), (40, 40)])
def test_a_few_rows_off_a_circle_are_left_in(wrong: int, left_out: int) -> None:
    rng = np.random.default_rng(0)
    angle = np.cumsum(rng.uniform(0.1, 0.5, 4000))
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    values[rng.choice(np.arange(10, 3990, 5), wrong, replace=False)] *= 1.2
    follows, whose = np.ones(len(values) - 1, dtype=np.bool_), np.zeros(len(values), dtype=np.int64)
    acted = rng.uniform(-1, 1, (len(values), 1))
    time = np.arange(len(values), dtype=np.float64)
    found = Strange.of(values, follows, acted, time, whose, (), [False, False])
    assert found.outliers.any(axis=1).sum() == left_out


def test_counts_are_those_of_columns_and_of_agents() -> None:
    flags = np.array([[True, True], [False, False], [False, True], [False, False]])
    assert counted(flags, ["x", "y"]) == {"x": 1, "y": 2}
    assert by_agent(flags, np.array([0, 0, 1, 2]), ["a", "b", "c"]) == {"a": 2, "b": 1}
    assert by_agent(flags, np.array([1, 0, 0, 2]), ["a", "b", "c"]) == {"b": 2, "a": 1}


def table(share: float) -> tuple[pd.DataFrame, Any]:
    values, actions = driven(0)
    values, bad = with_wrong(values, share)
    time = np.arange(len(values)) - np.searchsorted(AGENT, AGENT)
    names = {"who": AGENT.astype(str), "t": time, "force": actions[:, 0]}
    return pd.DataFrame(names | {"place": values[:, 0], "speed": values[:, 1]}), bad


def test_rows_with_an_outlier_are_left_out_of_a_table_and_counted() -> None:
    whole = read_table(table(0.0)[0], **COLUMNS)
    assert "notes" not in (whole.source or {})
    spoilt, bad = table(0.02)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found, report = read_table_report(spoilt, **COLUMNS)
    said = " ".join(str(w.message) for w in caught)
    assert "contradict the rows before and after them, or a circle" in said
    assert sum(report.outliers.values()) == sum(report.outlier_agents.values())
    left = sum(report.outliers.values()) + sum(report.glitches.values())
    assert 0.9 * bad.sum() <= left <= 1.1 * bad.sum()
    most = next(iter(report.outlier_agents))
    assert f"of {len(report.outlier_agents)} agents" in said
    assert f"the most ({report.outlier_agents[most]}) of {most!r}" in said
    assert f"{sum(report.outliers.values())} values left out as outliers" in str(report)
    # What is left in is right: every row of it stands in the table that nothing was done to.
    right = set(map(tuple, whole.obs.tolist()))
    assert sum(tuple(row) not in right for row in found.obs.tolist()) <= 0.1 * bad.any(1).sum()


def test_columns_that_are_declared_keep_their_values() -> None:
    spoilt, _ = table(0.02)
    said = {"place": (None, None), "speed": (None, None)}
    kept = read_table(spoilt, **COLUMNS, bounds=said)
    assert len(kept) == len(read_table(table(0.0)[0], **COLUMNS))
    card = json.loads(json.dumps({"source": kept.source}))
    assert read_with(spoilt, columns_for(card)).sha256() == kept.sha256()


@pytest.mark.slow
def test_a_fit_is_as_good_as_without_wrong_values() -> None:
    with pytest.warns(UserWarning, match="left out"):
        spoilt = PerSim.fit(table(0.02)[0], columns=COLUMNS, progress=False)
    bent = PerSim.fit(
        table(0.02)[0],
        columns=COLUMNS | {"bounds": {"place": (None, None), "speed": (None, None)}},
        progress=False,
    )
    values, actions = driven(0)
    rows = np.flatnonzero(np.arange(len(values)) % STEPS == 5)
    truth = values[rows + 10]
    acted = actions[rows[:, None] + np.arange(10)]
    errors = [
        np.abs(sim.rollout(AGENT[rows], values[rows], acted).mean(0)[:, -1] - truth).mean()
        for sim in (spoilt, bent)
    ]
    assert errors[0] < 0.01
    assert errors[1] > 10 * errors[0]
    (note,) = (n for n in spoilt.card["metrics"]["notes"] if "outliers" in n)
    assert "bounds={'" in note
