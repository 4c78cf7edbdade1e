"""Importance sampling against sums that are written out."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.off_policy.importance import importance_values
from persim_gym.evaluation.off_policy.stretches import RecordedStretches

STRETCHES = RecordedStretches(np.array([0, 2, 4, 6]), np.array([2, 2, 2, 1]), 2)
GROUP = np.array([0, 0, 0, 1])
REWARDS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])


def test_per_decision_and_weighted() -> None:
    ratio = np.array([2.0, 1.0, 1.0, 3.0, 0.5, 1.0, 4.0])
    values, effective = importance_values(ratio, REWARDS, STRETCHES, GROUP, 2, 0.5)
    first, both = np.array([2.0, 1.0, 0.5]), np.array([2.0, 3.0, 0.5])
    expected = (first @ [1, 3, 5]) / first.sum() + 0.5 * (both @ [2, 4, 6]) / both.sum()
    np.testing.assert_allclose(values, [expected, 7.0])
    np.testing.assert_allclose(effective, [both.sum() ** 2 / (both**2).sum(), 1.0])


def test_ratios_may_leave_any_number_s_range() -> None:
    huge = np.full(7, 1e200)
    values, effective = importance_values(huge, REWARDS, STRETCHES, GROUP, 2, 1.0)
    np.testing.assert_allclose(values, [3.0 + 4.0, 7.0])
    np.testing.assert_allclose(effective, [3.0, 1.0])


def test_without_weight_there_is_no_value() -> None:
    never = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    values, effective = importance_values(never, REWARDS, STRETCHES, GROUP, 2, 1.0)
    assert np.isnan(values[0])
    assert effective.tolist() == [0.0, 1.0]
