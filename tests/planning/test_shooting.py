"""Random shooting beyond the paper's: sticky sequences, and decisions by the mean."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym.planning import Objective, RandomShooting
from tests.planning.scores import BOX, THREE, Recording, flat, generator, plan, table_score
from tests.planning.worlds import Line, LineTask, scalar_return


def drawn(planner: RandomShooting, space: Any, **options: Any) -> Tensor:
    """The sequences that a planner tries."""
    asked = Recording(flat)
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
    all_lost = plan(RandomShooting(60, 4, decide="mean"), lambda a: flat(a) - torch.inf, THREE)
    assert all_lost.action.item() in (0, 1, 2)


def test_decisions_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="decide must be one of best, mean, got 'median'"):
        RandomShooting(decide="median")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="decide='mean' is for discrete actions"):
        plan(RandomShooting(decide="mean"), flat, BOX)
    with pytest.raises(ValueError, match="3 actions need at least as many candidates, got 2"):
        plan(RandomShooting(2, decide="mean"), flat, THREE)


def test_random_shooting_finds_the_best_of_all_sequences() -> None:
    score, table = table_score(problems=6, horizon=4)
    found = plan(RandomShooting(candidates=1500, horizon=4), score, THREE, problems=6)
    assert found.actions.shape == (6, 4)
    assert torch.equal(found.returns, table.max(dim=1).values)
    assert torch.equal(score(found.actions[:, None])[:, 0], found.returns)
    assert torch.equal(found.action, found.actions[:, 0])
    assert len({tuple(row.tolist()) for row in found.actions}) == 6, "each problem has its own"


def test_random_shooting_in_a_small_world() -> None:
    """Against all 81 sequences, each by a loop over single steps."""
    task, dynamics = LineTask(goal=1.0), Line((0.25, -0.5, 0.125))
    objective = Objective(task, dynamics)
    starts = np.array([[0.6], [0.9], [-0.3]])
    agents = torch.arange(3)
    found = plan(
        RandomShooting(1500, 4),
        lambda actions: objective(agents, torch.as_tensor(starts), actions),
        THREE,
        problems=3,
    )
    for i in range(3):
        best = max(
            scalar_return(task, dynamics, i, starts[i], np.array(row))
            for row in itertools.product(range(3), repeat=4)
        )
        assert found.returns[i] == pytest.approx(best)
        assert scalar_return(
            task, dynamics, i, starts[i], found.actions[i].numpy()
        ) == pytest.approx(best)


@pytest.mark.parametrize("space", [THREE, BOX], ids=["discrete", "box"])
def test_random_shooting_is_uniform(space: Discrete | Box) -> None:
    score = Recording(lambda actions: torch.zeros(actions.shape[:2]))
    plan(RandomShooting(candidates=3000, horizon=3), score, space, problems=2)
    (asked,) = score.asked
    assert asked.shape == (2, 3000, 3, *space.shape)
    if isinstance(space, Discrete):
        shares = torch.stack([(asked == a).double().mean(1) for a in range(3)])
        assert shares.sub(1 / 3).abs().max() < 0.04
        assert asked.dtype == torch.int64
    else:
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        assert ((asked >= low) & (asked <= high)).all()
        scaled = (asked - low) / (high - low)
        assert scaled.mean(1).sub(0.5).abs().max() < 0.03
        assert scaled.std(1).sub(12**-0.5).abs().max() < 0.02
    assert not torch.equal(asked[0], asked[1]), "problems draw for themselves"


@pytest.mark.parametrize("space", [THREE, BOX], ids=["discrete", "box"])
def test_random_shooting_tries_the_old_plan_shifted(space: Discrete | Box) -> None:
    def zero(actions: Tensor) -> Tensor:
        return torch.zeros(actions.shape[:2])

    cold = Recording(zero)
    plan(RandomShooting(20, 5), cold, space, problems=3)
    previous = plan(RandomShooting(20, 5), zero, space, problems=3, seed=9).actions
    warm = Recording(zero)
    plan(RandomShooting(20, 5), warm, space, 3, previous, [False, True, False])
    for problem in (0, 2):
        assert torch.equal(warm.asked[0][problem, 0, :-1], previous[problem, 1:])
        assert torch.equal(warm.asked[0][problem, 0, -1], cold.asked[0][problem, 0, -1])
        assert torch.equal(warm.asked[0][problem, 1:], cold.asked[0][problem, 1:])
    assert torch.equal(warm.asked[0][1], cold.asked[0][1]), "its episode has just begun"


def test_an_old_plan_that_is_still_the_best_is_kept() -> None:
    target = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1], [2, 2, 0, 0, 1, 1, 2, 2]])

    def score(actions: Tensor) -> Tensor:
        return (actions == target[:, None]).sum(-1).double()

    # One step ago: some action, and then the target's, as far as the horizon goes.
    previous = torch.cat([torch.full((2, 1), 1), target[:, :-1]], dim=1)
    found = plan(RandomShooting(30, 8), score, THREE, 2, previous)
    assert torch.equal(found.actions[:, :7], target[:, :7])
    without = plan(RandomShooting(30, 8), score, THREE, 2)
    assert (without.returns < found.returns).all()


def test_more_candidates_find_more() -> None:
    score, _ = table_score(problems=50, horizon=4)
    means = [
        plan(RandomShooting(candidates, 4), score, THREE, 50).returns.mean()
        for candidates in (1, 5, 50)
    ]
    assert means[0] + 0.2 < means[1]
    assert means[1] + 0.05 < means[2]
