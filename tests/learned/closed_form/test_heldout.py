"""Agents held out, and what is known of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.learned.closed_form.heldout import first_half, split_agents


def rows_of(agent: NDArray[np.int64], n: int) -> Rows:
    zeros = torch.zeros(len(agent), 1)
    return Rows(torch.as_tensor(agent), zeros, zeros[:, 0].long(), zeros, n, 1)


def test_agents_are_split_and_their_first_halves_known() -> None:
    lengths = [1, 0, *[6] * 30]
    agent = np.repeat(np.arange(32), lengths)
    learners, held = split_agents(rows_of(agent, 32), np.random.default_rng(0))
    assert not set(learners.tolist()) & set(held.tolist())
    assert set(learners.tolist()) | set(held.tolist()) == set(range(2, 32))
    assert len(held) == 6
    few = split_agents(rows_of(agent[agent < 8], 32), np.random.default_rng(0))
    assert len(few[0]) == 0
    assert sorted(few[1].tolist()) == list(range(2, 8))
    shuffled = torch.as_tensor(np.array([3, 1, 3, 3, 1, 2]))
    assert first_half(shuffled).tolist() == [True, True, True, False, False, True]
