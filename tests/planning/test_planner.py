"""The searches: do they find the best, and does each setting do what it says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym.planning import CEM, Objective, Planner, RandomShooting
from persim_gym.planning.cem import truncated_normal
from tests.planning.scores import BOX, Recording, generator, plan
from tests.planning.worlds import Line, LineTask, scalar_return

THREE = Discrete(3)

# -- random shooting -------------------------------------------------------------------------------


def table_score(problems: int, horizon: int, seed: int = 0) -> tuple[Any, Tensor]:
    """A value of its own for every sequence of every problem, without any order to follow."""
    table = torch.rand((problems, 3**horizon), generator=generator(seed), dtype=torch.float64)
    digits = 3 ** torch.arange(horizon)

    def score(actions: Tensor) -> Tensor:
        return table.gather(1, (actions * digits).sum(-1))

    return score, table


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


def test_a_horizon_of_one() -> None:
    def score(actions: Tensor) -> Tensor:
        return (actions == 2).double().sum(-1)

    previous = torch.zeros((2, 1), dtype=torch.long)
    assert plan(RandomShooting(20, 1), score, THREE, 2, previous).action.tolist() == [2, 2]

    def square(actions: Tensor) -> Tensor:
        return -(actions - 1.0).square().sum((-1, -2))

    space = Box(-2.0, 2.0, (1,), dtype=np.float32)
    found = plan(CEM(100, horizon=1, elites=10), square, space, 2, torch.zeros((2, 1, 1)))
    assert found.action.sub(1).abs().max() < 0.05


# -- CEM -------------------------------------------------------------------------------------------


def quadratic(target: Tensor) -> Any:
    """Returns highest at ``target`` ``[p, h, a]``, in units of the range of each coordinate."""
    span = torch.as_tensor(BOX.high - BOX.low)

    def score(actions: Tensor) -> Tensor:
        return -((actions - target[:, None]) / span).square().sum((-1, -2))

    return score


def test_cem_finds_an_optimum_inside_the_bounds() -> None:
    span = torch.as_tensor(BOX.high - BOX.low)
    low = torch.as_tensor(BOX.low)
    target = low + span * (0.1 + 0.8 * torch.rand((6, 3, 2), generator=generator(1)))
    found = plan(CEM(300, 3, elites=30, rounds=15, spread=0.6), quadratic(target), BOX, problems=6)
    assert found.actions.shape == (6, 3, 2)
    assert ((found.actions - target) / span).abs().max() < 0.03
    assert torch.equal(found.action, found.actions[:, 0])
    assert found.returns.abs().max() < 0.05


def test_cem_finds_an_optimum_at_the_bounds() -> None:
    low, high = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high)
    span = high - low
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    beyond = low + span * (corners * 5 - 2)  # far outside on every side
    target = beyond[:, None].expand(4, 3, 2)
    found = plan(CEM(300, 3, elites=30, rounds=15, spread=1.0), quadratic(target), BOX, problems=4)
    assert ((found.actions - low) / span - corners[:, None]).abs().max() < 0.01
    assert (found.actions >= low).all()
    assert (found.actions <= high).all()


def test_a_batch_is_as_good_as_its_problems_alone() -> None:
    low, span = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high - BOX.low)
    target = low + span * torch.rand((8, 3, 2), generator=generator(1))
    planner = CEM(150, 3, elites=20, rounds=8, spread=0.6)
    together = plan(planner, quadratic(target), BOX, problems=8).returns
    alone = torch.cat(
        [plan(planner, quadratic(target[i : i + 1]), BOX, seed=i).returns for i in range(8)]
    )
    # A search that mixed its problems up would end near the mean of their targets.
    mixed = -((target - target.mean(0)) / span).square().sum((-1, -2)).mean()
    assert together.min() > 0.1 * mixed
    assert alone.min() > 0.1 * mixed
    assert abs(together.mean() - alone.mean()) < 0.02 * abs(mixed)


def test_samples_of_cem_stay_inside_the_bounds() -> None:
    score = Recording(quadratic(torch.full((2, 4, 2), 9.0)))
    planner = CEM(50, 4, elites=5, rounds=5, spread=2.0)
    plan(planner, score, BOX, problems=2)
    assert len(score.asked) == 5
    for asked in score.asked:
        assert asked.shape == (2, 50, 4, 2)
        assert (asked >= torch.as_tensor(BOX.low)).all()
        assert (asked <= torch.as_tensor(BOX.high)).all()


def test_the_first_round_of_cem_is_as_wide_as_its_spread() -> None:
    half = torch.as_tensor(BOX.high - BOX.low) / 2
    deviations = []
    for seed in range(30):
        score = Recording(lambda actions: actions.sum((-1, -2)))
        plan(CEM(2000, 2, elites=10, rounds=1, spread=0.05), score, BOX, 2, seed=seed)
        deviation = (score.asked[0] / half).std(1)
        middle = (score.asked[0].mean(1) - torch.as_tensor(BOX.low)) / half
        assert middle.sub(1).abs().max() < 0.02  # around the middle of the range
        # One draw a decision and problem: all steps and coordinates are alike.
        assert (deviation.amax((1, 2)) / deviation.amin((1, 2))).max() < 1.15
        deviations.extend(deviation.mean((1, 2)).tolist())
    assert 0.048 < min(deviations) < 0.06
    assert 0.09 < max(deviations) < 0.103


def test_the_plan_of_cem_is_the_mean_of_its_last_elites() -> None:
    value = torch.arange(40.0)[None]
    score = Recording(lambda actions: value)
    found = plan(CEM(40, 3, elites=7, rounds=3), score, BOX)
    expected = score.asked[-1][0, -7:].mean(0)
    torch.testing.assert_close(found.actions[0], expected)
    assert found.returns.item() == pytest.approx(36.0)


def test_keep_holds_the_distribution_back() -> None:
    low, half = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high - BOX.low) / 2
    value = torch.arange(2000.0)[None]

    def second_round(keep: float) -> tuple[float, float]:
        # The best are fifty samples out of the blue: by their number, not by what they are.
        score = Recording(lambda actions: actions[..., 0, 0] + 0 * value)
        plan(CEM(2000, 1, elites=50, rounds=2, keep=keep, spread=0.2), score, BOX)
        first, second = (((a[0, :, 0] - low) / half - 1)[:, 0] for a in score.asked)
        assert first.mean().abs() < 0.05
        return second.mean().item(), (second.std() / first.std()).item()

    shift, width = second_round(0.0)
    assert shift > 0.3
    assert width < 0.5
    kept_shift, kept_width = second_round(0.9)
    assert 0.02 < kept_shift < 0.3 * shift
    assert kept_width > 0.8


def test_fewer_elites_are_greedier() -> None:
    score = Recording(lambda actions: actions[..., 0, 0])
    few, many = (
        plan(CEM(200, 1, elites=elites, rounds=1), score, BOX).returns for elites in (5, 150)
    )
    assert few > many + 0.3


def test_more_rounds_get_closer() -> None:
    target = torch.tensor([[[2.5, 2.1]]]).expand(20, 2, 2)
    values = [
        plan(CEM(60, 2, elites=10, rounds=r), quadratic(target), BOX, 20).returns.mean()
        for r in (1, 3, 8)
    ]
    assert values[0] < 2 * values[1] < 2 * values[2]


def test_cem_goes_on_from_the_old_plan_shifted() -> None:
    low, half = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high - BOX.low) / 2
    previous = low + 2 * half * torch.rand((3, 4, 2), generator=generator(5))
    score = Recording(lambda actions: torch.zeros(actions.shape[:2]))
    planner = CEM(4000, 4, elites=10, rounds=1, spread=0.01)
    plan(planner, score, BOX, 3, previous, [False, True, False])
    means = (score.asked[0].mean(1) - low) / half - 1
    shifted = (previous[:, 1:] - low) / half - 1
    expected = torch.cat([shifted, torch.zeros(3, 1, 2)], dim=1)
    expected[1] = 0.0  # its episode has just begun
    assert (means - expected).abs().max() < 0.02


def test_cem_for_discrete_actions_is_refused() -> None:
    with pytest.raises(TypeError, match=r"continuous actions; use RandomShooting for discrete"):
        plan(CEM(), quadratic(torch.zeros(1, 30, 2)), THREE)


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_a_seed_decides_everything(planner: Planner) -> None:
    score = quadratic(torch.full((2, 3, 2), 2.2))
    before = torch.get_rng_state()
    one, two, other = (plan(planner, score, BOX, 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, two.actions)
    assert not torch.equal(one.actions, other.actions)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_what_ranks_last_is_not_chosen(planner: Planner) -> None:
    """Half of the range leads out of the finite numbers; the rest has returns far below zero."""

    def score(actions: Tensor) -> Tensor:
        good = actions[..., 0, 0] < 1.0
        return torch.where(good, -1e6 - actions[..., 0, 0], -torch.inf)

    found = plan(planner, score, BOX, problems=3)
    assert torch.isfinite(found.returns).all()
    assert (found.action[:, 0] < 1.0).all()


@pytest.mark.parametrize("planner", [RandomShooting(50, 3), CEM(50, 3, elites=5)], ids=repr)
def test_a_plan_is_made_even_where_all_is_lost(planner: Planner) -> None:
    found = plan(planner, lambda a: torch.full(a.shape[:2], -torch.inf), BOX, problems=2)
    assert torch.isfinite(found.actions).all()
    assert BOX.contains(found.action[0].numpy())
    assert (found.returns == -torch.inf).all()


INVALID: list[tuple[Any, dict[str, Any], str]] = [
    *[(RandomShooting, {name: value}, f"{name} must be a positive integer, got")
      for name in ("candidates", "horizon") for value in (0, -5, 1.5, True, "9")],
    *[(CEM, {name: 0}, f"{name} must be a positive integer, got 0")
      for name in ("candidates", "horizon", "elites", "rounds")],
    (CEM, {"candidates": 10, "elites": 11}, "11 elites cannot be chosen of 10 candidates"),
    *[(CEM, {"keep": value}, "keep must be in") for value in (-0.1, 1.0, float("nan"))],
    *[(CEM, {"spread": value}, "spread must be positive")
      for value in (0.0, -1.0, float("nan"), float("inf"))],
]  # fmt: skip


@pytest.mark.parametrize(("planner", "settings", "message"), INVALID)
def test_settings_that_cannot_be(planner: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planner(**settings)


def test_settings_of_the_paper_are_the_defaults() -> None:
    assert RandomShooting() == RandomShooting(candidates=1000, horizon=50)
    assert CEM() == CEM(candidates=200, horizon=30, elites=50, rounds=6, keep=0.1)


# -- the distribution of CEM -----------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 0.6, -0.95, 1.0, -1.0])
@pytest.mark.parametrize("deviation", [0.02, 0.3, 0.8, 4.0])
def test_truncated_normal_is_what_drawing_again_gives(mean: float, deviation: float) -> None:
    n = 40_000
    draws = truncated_normal(torch.full((1,), mean), torch.full((1,), deviation), n, generator())
    assert draws.shape == (1, n)
    assert draws.abs().max() <= 1
    rng = np.random.default_rng(1)
    candidates = rng.normal(mean, deviation, size=n * (20 if deviation > 1 else 4))
    again = candidates[np.abs(candidates) <= 1]
    assert len(again) > n / 2
    ours = draws[0].double().numpy()
    width = again.std()
    assert ours.mean() == pytest.approx(again.mean(), abs=0.03 * width)
    assert ours.std() == pytest.approx(width, rel=0.03)
    levels = np.linspace(0.02, 0.98, 13)
    np.testing.assert_allclose(
        np.quantile(ours, levels), np.quantile(again, levels), atol=0.06 * width
    )


def test_truncated_normal_draws_for_each_entry() -> None:
    mean = torch.tensor([[[0.5, -0.5], [0.0, 0.9]], [[-0.9, 0.2], [0.3, -0.1]]])
    deviation = torch.tensor([[[0.01, 0.02], [0.03, 0.01]], [[0.02, 0.02], [0.01, 0.04]]])
    draws = truncated_normal(mean, deviation, 5000, generator())
    assert draws.shape == (2, 5000, 2, 2)
    assert (draws.mean(1) - mean).abs().max() < 0.003
    assert (draws.std(1) / deviation - 1).abs().max() < 0.05
    flat = draws.permute(1, 0, 2, 3).reshape(5000, 8).numpy()
    correlation = np.corrcoef(flat.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.06


@pytest.mark.parametrize("deviation", [0.0, 1e-30, 1e-4, 1e6])
def test_truncated_normal_at_its_extremes(deviation: float) -> None:
    mean = torch.tensor([-1.0, 0.0, 1.0])
    draws = truncated_normal(mean, torch.full((3,), deviation), 2000, generator())
    assert torch.isfinite(draws).all()
    assert draws.abs().max() <= 1
    if deviation < 1:
        assert (draws - mean[:, None]).abs().max() < 1e-3
    else:
        assert draws.std(1).sub(3**-0.5).abs().max() < 0.03
