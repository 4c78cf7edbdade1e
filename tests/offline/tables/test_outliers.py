"""Outliers of observations, found by the rows before and after them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.offline.tables.outliers import _Screen, outliers
from tests.offline.tables.springs import AGENT, FOLLOWS, STEPS, Floats, driven, with_wrong


def found_in(values: Floats, actions: Floats) -> NDArray[np.bool_]:
    return outliers(values, FOLLOWS, actions, AGENT, np.zeros(values.shape[1]))


@pytest.mark.parametrize(("share", "recall"), [(0.01, 0.95), (0.03, 0.9)])
def test_wrong_values_are_found_and_hardly_any_other(share: float, recall: float) -> None:
    values, actions = driven(0)
    seen, bad = with_wrong(values, share)
    rows, wrong = found_in(seen, actions).any(axis=1), bad.any(axis=1)
    assert (rows & wrong).sum() >= recall * wrong.sum()
    assert (rows & ~wrong).sum() <= 0.05 * wrong.sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["plain", "heavy", "walls"])
def test_what_happens_to_the_process_is_no_outlier(kind: str, seed: int) -> None:
    values, actions = driven(seed, heavy=kind == "heavy", walls=kind == "walls")
    assert not found_in(values, actions).any()
    rng = np.random.default_rng(seed)
    assert not found_in(values + rng.normal(0, 0.05, values.shape), actions).any()


@pytest.mark.parametrize(("kind", "recall"), [("heavy", 0.8), ("walls", 0.5)])
def test_wrong_values_are_found_among_what_happens(kind: str, recall: float) -> None:
    values, actions = driven(0, heavy=kind == "heavy", walls=kind == "walls")
    seen, bad = with_wrong(values, 0.02)
    rows, wrong = found_in(seen, actions).any(axis=1), bad.any(axis=1)
    assert (rows & wrong).sum() >= recall * wrong.sum()
    assert (rows & ~wrong).sum() <= 0.1 * wrong.sum()


def test_two_wrong_rows_one_after_the_other_and_a_last_one_are_found() -> None:
    values, actions = driven(0)
    seen = values.copy()
    rows = np.arange(10) * 2 * STEPS + 30
    seen[rows, 0] += 4.0
    seen[rows + 1, 1] -= 3.0
    seen[STEPS - 1, 0] += 5.0
    found = found_in(seen, actions)
    assert found[rows, 0].all()
    assert found[rows + 1, 1].all()
    assert found[STEPS - 1, 0]


def test_a_few_are_left_for_chance_and_an_angle_is_no_leap() -> None:
    values, actions = driven(0)
    seen = values.copy()
    seen[[100, 500, 900], 0] += 4.0
    assert not found_in(seen, actions).any()
    turned = np.stack([(np.cumsum(0.1 + 0 * values[:, 0])) % 360, values[:, 1]], axis=1)
    wrong = turned.copy()
    wrong[30::160, 0] += 50.0
    turns = np.array([360.0, 0.0])
    assert not outliers(turned, FOLLOWS, actions, AGENT, turns).any()
    assert outliers(wrong, FOLLOWS, actions, AGENT, turns)[30::160, 0].all()


@pytest.mark.parametrize("rows", [0, 1, 3, 12])
def test_of_a_few_rows_nothing_is_said(rows: int) -> None:
    values = np.where(np.arange(rows) == 1, 1e9, 0.0)[:, None]
    follows, agent = np.ones(max(0, rows - 1), dtype=bool), np.zeros(rows, dtype=int)
    assert not outliers(values, follows, values, agent, np.zeros(1)).any()


@pytest.mark.parametrize("agents", [3, 30])
def test_many_rows_are_searched_part_by_part(monkeypatch: pytest.MonkeyPatch, agents: int) -> None:
    """Those of some agents first, or all of them: both find what is wrong."""
    monkeypatch.setattr("persim_gym.offline.tables.outliers.AGENTS", agents)
    values, actions = driven(0)
    seen, bad = with_wrong(values, 0.02)
    monkeypatch.setattr("persim_gym.offline.tables.outliers.BLOCK", 1000)
    rows, wrong = found_in(seen, actions).any(axis=1), bad.any(axis=1)
    assert (rows & wrong).sum() >= 0.8 * wrong.sum()


def test_of_many_clean_rows_those_of_some_agents_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "persim_gym.offline.tables.outliers."
    values, actions = driven(0)
    searched, search = list[int](), _Screen.search

    def counted(own: _Screen) -> tuple[Any, int]:
        searched.append(len(own.values))
        return search(own)

    monkeypatch.setattr(module + "BLOCK", 1000)
    monkeypatch.setattr(module + "AGENTS", 3)
    monkeypatch.setattr(_Screen, "search", counted)
    assert not found_in(values, actions).any()
    assert 0 < sum(searched) < len(values) / 2
