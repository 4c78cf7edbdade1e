"""What learned models pass on to the shells."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.core import Dynamics
from persim_gym.learned.environments.served import ServedDynamics
from tests.learned.worlds import PlainTask, random_simulator


@pytest.mark.parametrize("lag", [1, 2])
def test_everything_is_the_model_s(lag: int) -> None:
    sim = random_simulator(PlainTask.of(2, actions=3), lag=lag)
    served = ServedDynamics(sim)
    assert isinstance(served, Dynamics)
    assert (served.num_agents, served.lag, served.agent_names) == (4, lag, None)
    assert served.agent_indices([1, 3]) == [1, 3]
    served.check_seen(np.arange(4))
    obs, actions = np.array([[0.1, -0.2], [0.3, 0.0]], np.float32), np.array([0, 2])
    states = served.recall(obs)
    np.testing.assert_array_equal(states, sim.recall(obs))
    after = served.step([0, 1], states, actions)
    np.testing.assert_array_equal(after, sim.predict([0, 1], states, actions))
    moved = served.follow(states, actions, after)
    np.testing.assert_array_equal(moved, sim.follow(states, actions, after))
