"""Random shooting beyond the paper's: sticky sequences, and decisions by the mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from persim_gym.planning import RandomShooting
from tests.planning.test_planners import BOX, THREE, Recording, generator, plan, table_score


def nothing(actions: Tensor) -> Tensor:
    return torch.zeros(actions.shape[:2])


def drawn(planner: RandomShooting, space: Any, **options: Any) -> Tensor:
    """The sequences that a planner tries."""
    asked = Recording(nothing)
    plan(planner, asked, space, **options)
    return asked.asked[0]


# -- sticky ----------------------------------------------------------------------------------------


def test_without_stickiness_draws_are_the_papers() -> None:
    expected = torch.randint(3, (2, 50, 7), generator=generator(5))
    for sticky in (0.0, (0.0,), (0.0, 0.0)):
        found = drawn(RandomShooting(50, 7, sticky), THREE, problems=2, seed=5)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("sticky", [0.5, 0.9, 0.97])
def test_sticky_sequences_come_in_blocks(sticky: float) -> None:
    actions = drawn(RandomShooting(4000, 60, sticky), THREE)[0]
    same = float((actions[:, 1:] == actions[:, :-1]).double().mean())
    assert same == pytest.approx(sticky + (1 - sticky) / 3, abs=0.01)
    for action in range(3):  # and every action is as likely as any other, in every step
        share = (actions == action).double().mean(0)
        torch.testing.assert_close(share, torch.full_like(share, 1 / 3), atol=0.04, rtol=0)


def test_continuous_actions_stick_as_a_whole() -> None:
    actions = drawn(RandomShooting(500, 40, 0.8), BOX)[0]
    same = actions[:, 1:] == actions[:, :-1]
    assert torch.equal(same[..., 0], same[..., 1])
    assert float(same.double().mean()) == pytest.approx(0.8, abs=0.02)
    low, high = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high)
    assert ((actions >= low) & (actions <= high)).all()


def test_candidates_share_out_several_stickinesses() -> None:
    actions = drawn(RandomShooting(8, 3000, (0.0, 0.95)), THREE)[0]
    changes = (actions[:, 1:] != actions[:, :-1]).double().mean(-1)
    assert (changes[::2] > 0.6).all()
    assert (changes[1::2] < 0.06).all()


def test_the_previous_plan_is_tried_among_sticky_sequences() -> None:
    previous = torch.tensor([[0, 1, 2, 0, 1, 2]])
    actions = drawn(RandomShooting(5, 6, 0.9), THREE, previous=previous)
    assert actions[0, 0, :-1].tolist() == [1, 2, 0, 1, 2]


@pytest.mark.parametrize("sticky", [1.0, -0.1, (), (0.5, 1.0), True, "0.5", float("nan"), [0.5]])
def test_stickiness_that_cannot_be(sticky: Any) -> None:
    with pytest.raises(ValueError, match=r"sticky must be in \[0, 1\), or a tuple"):
        RandomShooting(sticky=sticky)


# -- by the mean -----------------------------------------------------------------------------------


def after(first: dict[int, tuple[float, float]]) -> Any:
    """Returns by the first action, and more where the second is 2: one in three candidates."""

    def score(actions: Tensor) -> Tensor:
        usual = torch.tensor([first[action][0] for action in range(3)])
        lucky = torch.tensor([first[action][1] for action in range(3)])
        begin = actions[..., 0]
        return torch.where(actions[..., 1] == 2, lucky[begin], usual[begin])

    return score


def test_the_mean_decides_against_the_best() -> None:
    score = after({0: (0.0, 10.0), 1: (5.0, 6.0), 2: (4.0, 4.0)})
    best = plan(RandomShooting(90, 3), score, THREE)
    mean = plan(RandomShooting(90, 3, decide="mean"), score, THREE)
    assert (best.action.tolist(), best.returns.tolist()) == ([0], [10])
    # The plan is the best candidate that begins as was decided.
    assert (mean.action.tolist(), mean.returns.tolist()) == ([1], [6])
    assert mean.actions[0, :2].tolist() == [1, 2]


def test_each_problem_has_its_own_mean() -> None:
    means = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 3.0, 0.0]])

    def score(actions: Tensor) -> Tensor:
        return means.gather(1, actions[..., 0]) + 0.01 * actions[..., 1]

    found = plan(RandomShooting(60, 3, decide="mean"), score, THREE, problems=3)
    assert found.action.tolist() == [2, 0, 1]


@pytest.mark.parametrize("candidates", [3, 7, 30])
def test_first_actions_are_shared_out_and_the_rest_is_drawn(candidates: int) -> None:
    previous = torch.tensor([[0, 2, 2, 2]])
    actions = drawn(RandomShooting(candidates, 4, decide="mean"), THREE, previous=previous)[0]
    counts = torch.bincount(actions[:, 0], minlength=3)
    assert counts.max() - counts.min() <= 1
    # Blocks meet all of five members that are dealt out in turn.
    if candidates == 30:
        members = torch.arange(30) % 5
        for action in range(3):
            assert len(members[actions[:, 0] == action].unique()) == 5
        assert len(actions[:, 1].unique()) == 3


def test_the_previous_plan_has_no_part_in_the_mean() -> None:
    previous = torch.randint(3, (1, 20), generator=generator(9))
    planner = RandomShooting(30, 20, decide="mean")
    without = drawn(planner, THREE, fresh=[False])
    assert torch.equal(drawn(planner, THREE, previous=previous, fresh=[False]), without)


def test_first_actions_stick_as_well() -> None:
    actions = drawn(RandomShooting(300, 3, 0.9, decide="mean"), THREE)[0]
    assert float((actions[:, 0] == actions[:, 1]).double().mean()) > 0.88


def test_one_rollout_gone_wild_does_not_rule_out_its_action() -> None:
    score, _ = table_score(problems=1, horizon=4)

    def wild(actions: Tensor) -> Tensor:
        returns = torch.where(actions[..., 0] == 1, 2.0, 0.0) + score(actions)
        rare = (actions == torch.tensor([1, 0, 0, 0])).all(-1)
        return torch.where(rare, -torch.inf, returns)

    found = plan(RandomShooting(600, 4, decide="mean"), wild, THREE)
    assert found.action.item() == 1
    assert torch.isfinite(found.returns).all()
    # An action all of whose rollouts are lost is no better than the worst that is not.
    lost = plan(
        RandomShooting(60, 4, decide="mean"),
        lambda actions: torch.where(actions[..., 0] == 0, -torch.inf, -1.0 - actions[..., 0]),
        THREE,
    )
    assert lost.action.item() == 1
    all_lost = plan(RandomShooting(60, 4, decide="mean"), lambda a: nothing(a) - torch.inf, THREE)
    assert all_lost.action.item() in (0, 1, 2)


def test_decisions_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="decide must be one of best, mean, got 'median'"):
        RandomShooting(decide="median")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="decide='mean' is for discrete actions"):
        plan(RandomShooting(decide="mean"), nothing, BOX)
    with pytest.raises(ValueError, match="3 actions need at least as many candidates, got 2"):
        plan(RandomShooting(2, decide="mean"), nothing, THREE)
