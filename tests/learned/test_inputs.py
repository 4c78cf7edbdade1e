"""Arguments of predictions: read without losing what they say, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.inputs import (
    check_actions,
    check_finite,
    check_inputs,
    flat_states,
    real_numbers,
)
from tests.learned.closed_form.polynomials import some
from tests.learned.worlds import PlainTask


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ([1 + 2j], TypeError, "got complex128"),
        (torch.tensor([1j]), TypeError, "got torch.complex64"),
        (["a"], TypeError, "got <U1"),
        ([None], TypeError, "got object"),
        ([[1.0], [1.0, 2.0]], ValueError, "rows of different lengths"),
    ],
    ids=str,
)
def test_what_is_no_real_number_is_refused(values: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"^obs must .*{said}"):
        real_numbers("obs", values)


def test_what_is_beyond_single_precision_is_refused() -> None:
    check_finite("obs", torch.tensor([3e38]))
    with pytest.raises(ValueError, match=r"obs must be finite numbers below 3.4e\+38, got inf"):
        check_finite("obs", torch.as_tensor([1e39], dtype=torch.float64).float())


def test_a_single_observation_is_a_constant_past() -> None:
    ensemble, task = some(lag=2), PlainTask.of(2, actions=3)
    states, actions = check_inputs(ensemble, task, np.eye(2), np.array([0, 2]), "n")
    assert states.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert actions.dtype == torch.long
    whole = states.reshape(2, 2, 2)
    assert torch.equal(flat_states(ensemble, whole), states)
    with pytest.raises(ValueError, match=r"\(n, 2\) or \(n, 2, 2\), got \(2, 3\)"):
        check_inputs(ensemble, task, np.zeros((2, 3)), np.zeros(2, dtype=int), "n")
    with pytest.raises(ValueError, match="actions must be 0 to 2, got 0 to 3"):
        check_inputs(ensemble, task, np.eye(2), np.array([0, 3]), "n")
    with pytest.raises(TypeError, match=r"discrete actions must be integers, got torch\.float64"):
        check_inputs(ensemble, task, np.eye(2), np.array([0.0, 1.0]), "n")


def test_actions_of_one_number_need_no_axis_of_their_own() -> None:
    """Of several they do: which of them is meant cannot be told."""
    task, given = PlainTask.of(2, action_dim=1), torch.arange(6).reshape(2, 3)
    whole = check_actions(task, given[..., None], 2, "n", "h")
    torch.testing.assert_close(check_actions(task, given, 2, "n", "h"), whole)
    assert whole.shape == (2, 3, 1)
    torch.testing.assert_close(check_actions(task, given[:, 0], 2, "n"), whole[:, 0])
    with pytest.raises(ValueError, match="actions must have shape"):
        check_actions(PlainTask.of(2, action_dim=3), given, 2, "n", "h")
    with pytest.raises(ValueError, match="actions must have shape"):
        check_actions(task, given, 3, "n", "h")
