"""CEM: does it find the best, and does each setting do what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.planning import CEM
from persim_gym.planning.cem import truncated_normal
from tests.planning.scores import BOX, THREE, Recording, generator, plan, quadratic


def test_cem_finds_an_optimum_inside_the_bounds() -> None:
    span = torch.as_tensor(BOX.high - BOX.low)
    low = torch.as_tensor(BOX.low)
    target = low + span * (0.1 + 0.8 * torch.rand((6, 3, 2), generator=generator(1)))
    found = plan(
        CEM(300, 3, elites=30, rounds=15, deviation=0.6), quadratic(target), BOX, problems=6
    )
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
    found = plan(
        CEM(300, 3, elites=30, rounds=15, deviation=1.0), quadratic(target), BOX, problems=4
    )
    assert ((found.actions - low) / span - corners[:, None]).abs().max() < 0.01
    assert (found.actions >= low).all()
    assert (found.actions <= high).all()


def test_a_batch_is_as_good_as_its_problems_alone() -> None:
    low, span = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high - BOX.low)
    target = low + span * torch.rand((8, 3, 2), generator=generator(1))
    planner = CEM(150, 3, elites=20, rounds=8, deviation=0.6)
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
    planner = CEM(50, 4, elites=5, rounds=5, deviation=2.0)
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
        plan(CEM(2000, 2, elites=10, rounds=1, deviation=0.05), score, BOX, 2, seed=seed)
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
        plan(CEM(2000, 1, elites=50, rounds=2, keep=keep, deviation=0.2), score, BOX)
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
    planner = CEM(4000, 4, elites=10, rounds=1, deviation=0.01)
    plan(planner, score, BOX, 3, previous, [False, True, False])
    means = (score.asked[0].mean(1) - low) / half - 1
    shifted = (previous[:, 1:] - low) / half - 1
    expected = torch.cat([shifted, torch.zeros(3, 1, 2)], dim=1)
    expected[1] = 0.0  # its episode has just begun
    assert (means - expected).abs().max() < 0.02


def test_cem_for_discrete_actions_is_refused() -> None:
    with pytest.raises(TypeError, match=r"continuous actions; use RandomShooting for discrete"):
        plan(CEM(), quadratic(torch.zeros(1, 30, 2)), THREE)


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
