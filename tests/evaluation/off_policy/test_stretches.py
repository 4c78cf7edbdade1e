"""Recorded stretches of one length."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.off_policy.stretches import recorded_stretches, sensible_length
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
    assert sensible_length(data([1, 1], [False] * 2)) == 1
