"""States of a model with a lag."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.history import coded, moved, remembered, slots
from tests.learned.features.frames import DISCRETE, data_of


def test_states_remember_what_was_done() -> None:
    data = data_of(DISCRETE)
    t = data.transitions
    states = slots(t, 3, 2).reshape(len(t), 3, 7)
    rows = np.flatnonzero(t.step >= 3)
    window = rows[:, None] + np.arange(-2, 1)
    made = remembered(t.obs[window], t.action[window[:, :-1]], 3)
    assert np.array_equal(made[:, 1:], states[rows, 1:])
    assert np.array_equal(made[:, 0, 2:], states[rows, 0, 2:])
    before = coded(torch.as_tensor(t.action[rows - 1]), 3)
    on = moved(torch.as_tensor(states[rows - 1]), before, torch.as_tensor(t.obs[rows]))
    assert np.array_equal(on, states[rows])
    first = states[t.starts]
    assert (first[:, :, 2:] == t.obs[t.starts][:, None]).all()
    assert not first[:, :, :2].any()
    with pytest.raises(ValueError, match="l - 1 actions"):
        remembered(t.obs[window], t.action[window], 3)
