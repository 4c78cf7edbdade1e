"""Recorded stretches of one length."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.off_policy.stretches import (
    RecordedStretches,
    importance_values,
    recorded_stretches,
    sensible_length,
)
from persim_gym.offline.transitions import Transitions


def data(lengths: list[int], ended: list[bool]) -> Transitions:
    """Episodes of these lengths, an agent each."""
    n = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    over = np.zeros(n, dtype=np.bool_)
    over[np.cumsum(lengths) - 1] = ended
    return Transitions(
        agent=episode, obs=np.zeros((n, 1)), action=np.zeros(n, dtype=int),
        next_obs=np.zeros((n, 1)), reward=np.arange(n, dtype=float), terminated=over,
        truncated=np.zeros(n), episode=episode, num_agents=len(lengths), task_name="a",
    )  # fmt: skip


def test_what_is_left_of_an_episode_counts_if_it_has_ended() -> None:
    found = recorded_stretches(data([5, 5, 2], [False, True, False]), 2)
    assert found.start.tolist() == [0, 2, 5, 7, 9, 10]
    assert found.length.tolist() == [2, 2, 2, 2, 1, 2]
    assert found.rows[4].tolist() == [9, 9]
    assert found.valid[4].tolist() == [True, False]


def test_returns_are_discounted_sums_of_what_was_recorded() -> None:
    transitions = data([5, 5], [False, True])
    found = recorded_stretches(transitions, 3)
    assert found.start.tolist() == [0, 5, 8]
    expected = [0 + 0.5 + 0.5, 5 + 3 + 7 / 4, 8 + 4.5]
    np.testing.assert_allclose(found.returns(transitions.reward, 0.5), expected)


def test_the_length_leaves_most_agents_two_stretches() -> None:
    assert sensible_length(data([100, 100, 3], [False] * 3)) == 50
    assert sensible_length(data([12, 12, 12], [False] * 3)) == 5
    assert sensible_length(data([41, 41], [False] * 2)) == 20
    assert sensible_length(data([1, 1], [False] * 2)) == 1


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
