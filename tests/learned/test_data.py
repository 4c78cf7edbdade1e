"""Data checked against their task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned.data import Data
from tests.learned.worlds import PlainTask, transitions


def data_of(**changes: Any) -> Any:
    rows = np.arange(12.0).reshape(6, 2) / 20
    given = {"agents": np.arange(6) // 3, "obs": rows, "actions": np.arange(6) % 3}
    return transitions(**(given | {"next_obs": rows + np.array([0.25, -0.5])} | changes))


def test_changes_and_their_units() -> None:
    data = Data(data_of(), PlainTask.of(2, actions=3))
    np.testing.assert_allclose(data.change(slice(None)), np.tile([0.25, -0.5], (6, 1)), atol=1e-6)
    assert not data.clipped.any()
    assert data.states(2).shape == (6, 2 * (2 + 2))  # with the action before each observation


def test_what_ends_on_a_bound_is_known() -> None:
    obs = np.zeros((6, 2))
    after = np.array([[1, 0], [0.5, 0], [0, -1], [0, 0], [0.99, 0], [-1, 1]])
    data = Data(data_of(obs=obs, next_obs=after), PlainTask.of(2, actions=3, low=-1.0))
    assert data.clipped.tolist() == [True, False, True, False, False, True]
    data.check_left(~data.clipped)
    with pytest.raises(ValueError, match="no transition is left to fit"):
        data.check_left(np.zeros(6, dtype=np.bool_))


@pytest.mark.parametrize("task", [PlainTask.of(3, actions=3), PlainTask.of(2, actions=2)], ids=str)
def test_data_of_another_task_are_refused(task: PlainTask) -> None:
    with pytest.raises(ValueError, match=r"coordinates|actions"):
        Data(data_of(), task)
