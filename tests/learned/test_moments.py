"""Means and deviations, measured in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from persim_gym.learned import moments as measures


def test_columns_are_measured_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "BLOCK", 7)
    values = np.random.default_rng(0).normal(50.0, [1e-3, 2.0], (40, 2)).astype(np.float32)
    asked: list[int] = []

    def part(rows: slice) -> NDArray[np.float32]:
        asked.append(rows.stop - rows.start)
        return values[rows]

    found = measures.measure(40, part)
    exact = values.astype(np.float64)
    assert_allclose(found.mean, exact.mean(0), rtol=1e-12)
    assert_allclose(found.deviation, exact.std(0), rtol=1e-9)
    assert_allclose([found.low, found.high], [exact.min(0), exact.max(0)])
    assert max(asked) == 7
    constant = measures.measure(9, lambda rows: np.ones((9, 1))[rows])
    assert constant.deviation == 0
    assert constant.unit == 1


def test_rows_that_do_not_count_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "FEW", 5)
    values = np.random.default_rng(0).normal(3.0, 2.0, (40, 2)).astype(np.float32)
    used = np.arange(40) % 20 > 12  # some blocks have none of them
    found, exact = measures.measure(40, lambda rows: values[rows], used), values[used].astype(float)
    assert_allclose(found.mean, exact.mean(0))
    assert_allclose(found.deviation, exact.std(0))
    assert_allclose([found.low, found.high], [exact.min(0), exact.max(0)])
    mean, unit = found.single()
    assert mean.dtype == unit.dtype == np.float32
