"""Returns planned inside the data, by hand; and choices among samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.baselines.sfbc.critic import (
    Critic,
    choose,
    own_ends,
    planned_returns,
    soft_maximum,
)

REWARDS = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 5.0])
LENGTHS = np.array([3, 2, 1])


def test_without_values_they_are_the_datas_own_returns() -> None:
    found = planned_returns(REWARDS, LENGTHS, np.array([0.0, 4.0, 0.0]), 0.5)
    # 1 + (2 + 3/2)/2; 2 + 3/2; 3. Then 10 + (20 + 4/2)/2; 20 + 4/2. Then 5.
    assert found.tolist() == [2.75, 3.5, 3.0, 21.0, 22.0, 5.0]


def test_what_is_better_from_the_next_state_on_counts_instead() -> None:
    values = np.array([99.0, 6.0, 2.0, 99.0, 10.0, 99.0])
    found = planned_returns(REWARDS, LENGTHS, np.array([0.0, 4.0, 0.0]), 0.5, values)
    # After the first step 6 is better than 3.5; after the second 3 is better than 2. In the second
    # episode 22 is better than 10. The value of the state in which an action is taken says nothing
    # of that action: 99 counts nowhere.
    assert found.tolist() == [1 + 3.0, 2 + 1.5, 3.0, 10 + 11.0, 22.0, 5.0]


def reference(
    rewards: list[float], end: float, discount: float, values: list[float]
) -> list[float]:
    """One episode, by a loop."""
    after, found = end, []
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        found.append(reward + discount * after)
        after = max(found[-1], value)
    return found[::-1]


def test_many_episodes_of_any_length_are_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, size=20)
    rewards, values = rng.normal(size=lengths.sum()), rng.normal(size=lengths.sum())
    ends = rng.normal(size=20)
    found = planned_returns(rewards, lengths, ends, 0.9, values)
    first = 0
    for length, end in zip(lengths, ends, strict=True):
        own = slice(first, first + length)
        expected = reference(rewards[own].tolist(), end, 0.9, values[own].tolist())
        np.testing.assert_allclose(found[own], expected)
        first += length


def test_an_episode_that_was_cut_off_would_have_gone_on() -> None:
    over = np.array([True, False, False])
    assert own_ends(REWARDS, LENGTHS, over, 0.9) == pytest.approx([0.0, 150.0, 50.0])


def test_the_soft_maximum_lies_between_mean_and_maximum() -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    assert soft_maximum(values, 0.0).tolist() == [1.0, 5.0]
    assert soft_maximum(values, 100.0).tolist() == [2.0, 5.0]
    assert 1 < float(soft_maximum(values, 1.0)[0]) < 2


@pytest.mark.slow
def test_draws_have_the_weights_of_a_softmax() -> None:
    values, generator = torch.tensor([[0.0, 1.0, 0.5, -1.0]]), torch.Generator().manual_seed(0)
    drawn = choose(values.expand(40_000, 4), 1.5, 1, generator)[:, 0]
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    torch.testing.assert_close(shares, (1.5 * values[0]).softmax(0), atol=0.01, rtol=0)


def test_draws_of_several_are_without_replacement() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = choose(torch.randn(50, 6, generator=generator), 2.0, 4, generator)
    assert all(len(set(row)) == 4 for row in drawn.tolist())
    sure = choose(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), 1e6, 2, generator)
    assert sure.tolist() == [[1, 3]]


def test_samples_are_valued_as_actions_are() -> None:
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 2, (8, 8), generator)
    states = torch.randn(5, 3, generator=generator)
    samples = torch.randn(5, 4, 2, generator=generator)
    each = critic(states[:, None].expand(5, 4, 3), samples)
    torch.testing.assert_close(critic.of_samples(states, samples), each)
