"""Reasons are numbers that are equal to their names."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from persim_gym.envs.guard import REASONS, Reason, reasons


@pytest.mark.parametrize("number", range(len(REASONS)))
def test_a_reason_is_its_name_and_its_number(number: int) -> None:
    reason = Reason(REASONS[number])
    assert reason == number == Reason(number)
    assert reason == REASONS[number]
    assert reason != "another"
    assert bool(reason) == bool(number)
    assert f"{reason}" == str(reason) == REASONS[number]
    assert f"{reason:.0f}" == str(number)
    assert hash(reason) == hash(number)
    assert isinstance(reason, np.float64)
    for other in (copy.copy(reason), copy.deepcopy(reason), pickle.loads(pickle.dumps(reason))):
        assert type(other) is Reason
        assert other == reason


def test_an_unknown_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'support'"):
        Reason("suport")


def test_of_lanes_the_last_that_holds_counts() -> None:
    found = reasons(3, support=np.array([1, 1, 0], bool), non_finite=np.array([0, 1, 0], bool))
    assert [str(one) for one in found] == ["support", "non-finite", ""]
    assert (found == "support").tolist() == [True, False, False]
    assert (found != "").tolist() == [True, True, False]
    assert (found > 0).tolist() == [True, True, False]
    assert type(found[1:]) is type(found)
    assert type(found + 1) is np.ndarray
