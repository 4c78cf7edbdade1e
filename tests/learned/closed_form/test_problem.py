"""Data as a problem in double precision."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from tests.learned.closed_form.polynomial_worlds import LowRankWorld, posed


def test_data_that_are_all_used_are_not_copied() -> None:
    world = LowRankWorld(agents=12)
    data = world.record(20)
    problem = posed(world, data)
    for tensor, array in (
        (problem.rows.inputs, data.obs),
        (problem.states, data.obs),
        (problem.next_obs, data.next_obs),
        (problem.rows.agent, data.agent),
        (problem.actions, data.action),
        (problem.episode, data.episode),
    ):
        assert np.shares_memory(tensor.numpy(), array)
    change = data.next_obs.astype(np.float64) - data.obs
    assert_allclose(problem.rows.target, change / change.std(axis=0), rtol=1e-6, atol=1e-7)
