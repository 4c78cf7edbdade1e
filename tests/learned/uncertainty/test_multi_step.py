"""Predictions after some numbers of steps, and episodes that had ended by then."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.learned.uncertainty.multi_step import predict_ahead
from tests.learned.worlds import WalkTask, random_simulator


def test_is_the_rollout_at_these_steps_and_knows_what_had_ended() -> None:
    sim = random_simulator(WalkTask())
    rng = np.random.default_rng(0)
    n, h = 4, 9
    agents = rng.integers(0, sim.num_agents, n)
    states = sim.task.sample_start(rng, n).astype(np.float32)
    actions = rng.integers(0, 3, (n, h))
    members, ended = predict_ahead(sim.ensemble, agents, states, actions, [1, 4, 9])
    whole = sim.rollout(agents, states, actions)
    np.testing.assert_array_equal(members.float().numpy(), whole[:, :, [0, 3, 8]])
    assert members.dtype == torch.float64
    assert not ended.any()
    number = iter(range(h))

    def over(obs: np.ndarray) -> np.ndarray:  # the first one ends with its fourth step
        return np.arange(len(obs)) < (next(number) == 3)

    _, ended = predict_ahead(sim.ensemble, agents, states, actions, [1, 4, 9], over)
    assert ended.tolist() == [[False, False, True]] + [[False] * 3] * (n - 1)
