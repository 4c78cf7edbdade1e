"""Rows on which what was written is compared with the simulator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.export.rows import ROWS, check_alike, example_rows
from tests.learned.worlds import PlainTask, random_simulator


def test_a_file_that_says_something_else_is_refused() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    check_alike("it", rows + 1e-6, rows)
    for wrong in (rows + 0.1, rows[:1], np.where(rows == 2, np.nan, rows)):
        with pytest.raises(ValueError, match="nothing was written"):
            check_alike("it", wrong, rows)


def test_rows_are_about_the_recorded_range_and_inside_the_space() -> None:
    sim = random_simulator(PlainTask.of(2, actions=3, low=-1.1))
    agents, states, actions = example_rows(sim)
    assert (len(agents), states.shape, actions.shape) == (ROWS, (ROWS, 2), (ROWS,))
    known = sim.experience
    width = 0.2 * (known.high - known.low)
    assert (states.numpy() >= np.maximum(known.low - width, -1.1) - 1e-6).all()
    assert (np.abs(states.numpy()) > known.high).any()
    assert float(states.abs().max()) == pytest.approx(1.1)
    assert set(agents.tolist()) == set(range(sim.num_agents))
    assert set(actions.tolist()) == {0, 1, 2}
    again = example_rows(sim)
    assert all(
        torch.equal(one, other) for one, other in zip((agents, states, actions), again, strict=True)
    )


def test_rows_of_a_past_hold_all_of_it() -> None:
    sim = random_simulator(PlainTask.of(2, action_dim=1), lag=3)
    agents, states, actions = example_rows(sim, 5)
    assert states.shape == (5, 3 * (2 + sim.ensemble.past))
    assert actions.shape == (5, 1)
    assert sim.ensemble.step(agents, states, actions).shape == (sim.members, 5, 2)


def test_rounding_is_in_units_of_the_largest_value() -> None:
    rows = np.array([[1e6, 0.0]])
    check_alike("it", rows + 50.0, rows)
    with pytest.raises(ValueError, match=r"differs by 2e\+02 on values of up to 1e\+06"):
        check_alike("it", rows + 200.0, rows)
