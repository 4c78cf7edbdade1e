"""The seams: agents by index or name, and states of a dynamics with a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.core import as_agent, begin_states, describe, next_states, one_of, several_agents
from tests.evaluation.worlds import DriftDynamics


class Lagging(DriftDynamics):
    """Of three observations."""

    lag = 3


def test_states_of_a_lag_hold_the_last_observations() -> None:
    obs = np.array([[1.0, 2.0]])
    states = begin_states(Lagging(), obs)
    assert states.tolist() == [[[1, 2]] * 3]
    states = next_states(Lagging(), states, np.zeros(1), obs + 1)
    assert states.tolist() == [[[1, 2], [1, 2], [2, 3]]]
    assert begin_states(DriftDynamics(), obs) is obs
    assert next_states(DriftDynamics(), obs, np.zeros(1), obs + 1).tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("agent", "error"), [(4, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_an_agent_that_is_none(agent: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="agent"):
        as_agent(agent, 4)
    with pytest.raises(error, match="agent"):
        several_agents(DriftDynamics(), [0, agent])


def test_an_agent_is_a_plain_integer() -> None:
    assert type(as_agent(np.int8(3), 4)) is int
    assert several_agents(DriftDynamics(), np.array([3, 1])).tolist() == [3, 1]


@pytest.mark.parametrize("agents", [[], [1, 1], [[0, 1]], "01", 1])
def test_several_agents_are_different_ones(agents: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="agents must be"):
        several_agents(DriftDynamics(), agents)


def test_two_words_for_one_thing() -> None:
    assert one_of(3, None) == one_of(None, 3) == 3
    assert one_of(3, [3, 3]) == [3, 3]
    with pytest.raises(ValueError, match="not the same"):
        one_of(3, [3, 4])


def test_covariates_in_one_line() -> None:
    assert describe({"force": 10.0, "length": 0.51234}) == "force 10, length 0.5123"
