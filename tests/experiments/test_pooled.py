"""A pooled model as the dynamics of many agents, all alike."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.core import Dynamics
from persim_gym.experiments.pooled import PooledDynamics
from persim_gym.planning import MPC, RandomShooting
from tests.learned.worlds import PlainTask, random_simulator

SIM = random_simulator(PlainTask.of(2, actions=3), agents=1)
POOLED = PooledDynamics(SIM, 7)


def test_all_agents_are_the_one() -> None:
    agents, states = np.array([0, 3, 6]), np.full((3, 2), 0.4)
    steps = np.asarray(POOLED.step(agents, states, np.ones(3, np.int64)))
    assert (steps == steps[0]).all()
    np.testing.assert_array_equal(steps[0], SIM.step([0], states[:1], [1])[0])
    assert isinstance(POOLED, Dynamics)
    assert (POOLED.num_agents, POOLED.lag) == (7, SIM.lag)


def test_sequences_are_unrolled_for_any_agent() -> None:
    states, actions = torch.full((2, 2), 0.4), torch.ones((2, 4, 3), dtype=torch.int64)
    own, other = (
        torch.stack([*model.unroll(torch.tensor(agents), states, actions, "members")])
        for model, agents in ((SIM, [0, 0]), (POOLED, [5, 2]))
    )
    assert torch.equal(own, other)


def test_it_can_be_planned_in() -> None:
    mpc = MPC(POOLED, 6, task=SIM.task, planner=RandomShooting(8, 3))
    action, _ = mpc.predict(np.array([0.4, 0.4], dtype=np.float32))
    assert SIM.task.action_space.contains(int(action))
