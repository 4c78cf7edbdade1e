"""Stretches of a record that are held out."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned.stretches import held_out
from tests.learned.test_choice import record


@pytest.mark.parametrize("steps", [3, 8, 12, 40, 100, 400])
def test_stretches_are_of_every_agent_whole_and_unseen(steps: int) -> None:
    data = record(steps)
    parts = held_out(data, np.random.default_rng(0))
    assert len(parts) == (3 if steps < 30 else 1)
    for part in parts:
        held = np.setdiff1d(np.arange(len(data.agent)), part.rows)
        assert set(data.agent[part.start]) == set(range(20)) == set(data.agent[held])
        steps_ahead = part.start[:, None] + np.arange(part.longest.max())
        inside = np.arange(part.longest.max()) < part.length[:, None]
        assert np.isin(steps_ahead[inside], held).all()
        assert (part.longest >= min(60, steps // 3)).all()
    if steps < 30:  # every transition is held out once
        assert sum(len(data.agent) - len(part.rows) for part in parts) == len(data.agent)
