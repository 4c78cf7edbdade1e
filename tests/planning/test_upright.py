"""The cost of an angle that a planner may be given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from persim_gym.envs import find_suite
from persim_gym.planning import ICEM, MPC, Objective, RandomShooting, Upright
from tests.planning.worlds import Line, LineTask, Members, scalar_return

HALF_TURN = (math.pi / 2,)


def test_the_cost_goes_round() -> None:
    cost = Upright(coordinate=1, weight=3.0).cost(
        torch.tensor([[9.0, angle * math.pi] for angle in (0.0, 0.5, 1.0, -1.0, 2.0, 7.0)])
    )
    torch.testing.assert_close(cost, torch.tensor([0.0, 1.5, 3.0, 3.0, 0.0, 3.0]))


def test_it_is_subtracted_in_every_step_until_the_end() -> None:
    task, line = LineTask(goal=3.0), Line((0.9, -0.4))
    shaping = Upright(coordinate=0, weight=0.7)
    actions = torch.randint(3, (2, 40, 6), generator=torch.Generator().manual_seed(1))
    starts = np.array([[1.0], [-0.2]])
    found = Objective(task, line, shaping=shaping)(
        torch.arange(2), torch.as_tensor(starts), actions
    )
    ended = 0
    for i in range(2):
        for j in range(40):
            expected = scalar_return(task, line, i, starts[i], actions[i, j].numpy())
            x = starts[i, 0]
            for action in actions[i, j].tolist():
                x += line.strides[i] * (action - 1)
                expected -= 0.7 * (1 - math.cos(x)) / 2
                if x >= 3.0:
                    ended += 1
                    break
            assert found[i, j].item() == pytest.approx(expected)
    assert 0 < ended < 80


def test_a_planner_stays_upright_if_it_costs_enough() -> None:
    """Reward is the action alone; each one turns by a right angle."""

    class Turning(LineTask):
        def reward(self, obs: object, action: torch.Tensor, next_obs: object) -> torch.Tensor:
            return (action == 2) * 1.0

    def first_action(weight: float) -> int:
        task = Turning(goal=math.inf)
        mpc = MPC(
            Line(HALF_TURN), task=task, planner=RandomShooting(200, 3),
            shaping=Upright(coordinate=0, weight=weight),
        )  # fmt: skip
        return int(mpc.predict(np.zeros(1))[0])

    assert first_action(0.1) == 2
    assert first_action(10.0) == 1


class TwoMembers(Members):
    """Two members that can be compared."""

    members = 2

    def __init__(self) -> None:
        super().__init__(0.0, 0.1)

    def disagreement_of(self, states: torch.Tensor) -> torch.Tensor:
        return states.std(0)[..., 0]


def test_half_cheetahs_own_planner_keeps_it_upright_and_near_the_data() -> None:
    task = find_suite("half-cheetah").task()
    mpc = MPC(TwoMembers(), task=task)
    assert isinstance(mpc.planner, ICEM)
    assert isinstance(mpc.objective.shaping, Upright)
    assert mpc.objective.penalty > 0
    # What the penalty needs is missing here: it is left out, and does not have to be named.
    assert MPC(TwoMembers(), task=task, propagation="sampled").objective.penalty == 0
    assert MPC("half-cheetah").objective.penalty == 0
    assert MPC("half-cheetah", planner="paper").objective.shaping is None
