"""Predictions after some numbers of steps, and episodes that had ended by then."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.learned.uncertainty.ahead import predict_ahead
from tests.learned.worlds import random_simulator


def test_is_the_rollout_at_these_steps_and_knows_what_had_ended() -> None:
    sim = random_simulator(lag=1)
    rng = np.random.default_rng(0)
    n, h = 4, 9
    agents = rng.integers(0, sim.num_agents, n)
    states = sim.task.initial_states(n, rng).astype(np.float32)
    actions = np.stack([sim.task.action_space.sample() for _ in range(n * h)])
    actions = actions.reshape(n, h, *sim.task.action_space.shape)
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
