"""What rollouts have earned, counted step by step."""

from __future__ import annotations

import torch

from persim_gym.planning.running_returns import Tally

M, P, K, H = 2, 1, 3, 4
GENERATOR = torch.Generator().manual_seed(0)
REWARDS = torch.randn(H, M, P, K, generator=GENERATOR)
OBS = torch.randn(H, M, P, K, 2, generator=GENERATOR)


def test_rewards_count_until_the_end_of_an_episode() -> None:
    ended = torch.zeros(H, M, P, K, dtype=torch.bool)
    ended[1, 0, 0, 2] = True
    tally = Tally.begin(OBS[0])
    for t in range(0, H, 2):  # two steps at a time
        part = slice(t, t + 2)
        tally.count(REWARDS[part], OBS[part], tally.running(ended[part]), None)
    expected = REWARDS.sum(0)
    expected[0, 0, 2] = REWARDS[:2, 0, 0, 2].sum()
    torch.testing.assert_close(tally.returns(None), expected.mean(0))


def test_the_largest_value_may_count_too() -> None:
    tally = Tally.begin(OBS[0])
    tally.count(REWARDS, OBS, None, 1)
    expected = REWARDS.sum(0) + 3.0 * OBS[..., 1].amax(0)
    torch.testing.assert_close(tally.returns(3.0), expected.mean(0))


def test_one_lost_member_loses_a_candidate() -> None:
    obs = OBS.clone()
    obs[2, 1, 0, 1, 0] = torch.nan
    tally = Tally.begin(obs[0])
    tally.count(REWARDS, obs, None, None)
    assert torch.isinf(tally.returns(None)).tolist() == [[False, True, False]]


def test_candidates_that_are_dropped_keep_what_they_have_earned() -> None:
    tally = Tally.begin(OBS[0])
    tally.count(REWARDS[:2], OBS[:2], None, None)
    kept = torch.tensor([[2, 0]])
    tally.keep(kept)
    tally.count(REWARDS[2:][..., [2, 0]], OBS[2:][:, :, :, [2, 0]], None, None)
    expected = REWARDS.sum(0)
    expected[..., 1] = REWARDS[:2, ..., 1].sum(0)
    torch.testing.assert_close(tally.returns(None), expected.mean(0))
