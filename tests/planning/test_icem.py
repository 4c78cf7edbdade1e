"""iCEM: does it find known optima, and does each setting do what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.planning import ICEM, MPC, MPPI, Planner
from tests.planning.scores import (
    BOX,
    HIGH,
    LOW,
    SPAN,
    THREE,
    Recording,
    Regulator,
    flat,
    generator,
    lost,
    plan,
    quadratic,
    scaled,
)

STARTS = np.float32([[1.0, 0.0], [-0.6, 0.8], [0.3, -1.0]])


@pytest.mark.parametrize(
    "planner",
    [
        ICEM(200, 8, elites=15, rounds=12, beta=0.5, keep=0.2),
        ICEM(200, 8, elites=15, rounds=12, beta=0.5, keep=0.2, action="mean"),
        MPPI(200, 8, rounds=10, temperature=0.3, beta=0.5, shrink=0.6),
    ],
    ids=repr,
)
def test_the_regulator_is_planned_as_riccati_says(planner: Planner) -> None:
    world = Regulator()
    mpc = MPC(world, agent=[0, 1, 2], task=world, planner=planner)
    rows = torch.arange(3)
    found = plan(
        planner,
        lambda actions: mpc.objective(rows, torch.as_tensor(STARTS), actions),
        world.action_space,
        problems=3,
    )
    best = np.array([world.best(i, STARTS[i], 8) for i in range(3)])
    value = mpc.objective(rows, torch.as_tensor(STARTS), found.actions[:, None])[:, 0].numpy()
    assert np.abs(best[:, 0]).max() < 2, "the bounds are out of the way"
    assert (value <= best[:, 1] + 1e-6).all(), "nothing is better than the best"
    np.testing.assert_allclose(value, best[:, 1], rtol=0.02)
    np.testing.assert_allclose(found.action[:, 0].numpy(), best[:, 0], atol=0.1)
    np.testing.assert_allclose(found.returns.numpy(), value, rtol=0.05)


@pytest.mark.parametrize("planner", [ICEM(40, 8, elites=8), MPPI(40, 8)], ids=repr)
def test_the_regulator_is_brought_to_rest(planner: Planner) -> None:
    """In closed loop, with few candidates a decision: what is carried over has to do its part."""
    world = Regulator()
    agents, obs = np.arange(3), STARTS
    mpc = MPC(world, agent=agents, task=world, planner=planner)
    for _ in range(20):
        actions, _ = mpc.predict(obs)
        obs = world.step(agents, obs, actions).astype(np.float32)
    assert np.abs(obs[:, 0]).max() < 0.12


@pytest.mark.parametrize(
    "planner",
    [
        ICEM(100, 3, elites=10, rounds=12, deviation=1.0),
        MPPI(200, 3, rounds=10, temperature=0.1, shrink=0.8),
    ],
    ids=repr,
)
def test_an_optimum_at_the_bounds_is_found(planner: Planner) -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    beyond = LOW + SPAN * (corners * 5 - 2)  # far outside on every side
    score = Recording(quadratic(beyond[:, None].expand(4, 3, 2)))
    found = plan(planner, score, problems=4)
    assert ((found.actions - LOW) / SPAN - corners[:, None]).abs().max() < 0.02
    for asked in [*score.asked, found.actions]:
        assert (asked >= LOW).all()
        assert (asked <= HIGH).all()


@pytest.mark.parametrize(
    "planner", [ICEM(30, 4, elites=6), ICEM(30, 4, elites=6, action="mean"), MPPI(30, 4)], ids=repr
)
def test_a_batch_is_its_problems_alone(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same draws for each problem, to the last digits."""

    def alike(shape: tuple[int, int, int, int], beta: float, generator: Any) -> Tensor:
        return torch.randn((1, *shape[1:]), generator=generator).repeat(shape[0], 1, 1, 1)

    for name in ("icem", "mppi"):
        monkeypatch.setattr(f"persim_gym.planning.{name}.coloured_noise", alike)
    target = LOW + SPAN * torch.rand((5, 4, 2), generator=generator(1))
    fresh = [False, True, False, False, True]
    cold = plan(planner, quadratic(target), problems=5)
    together = plan(planner, quadratic(target), BOX, 5, cold.carried, fresh, seed=2)
    for i in range(5):
        score, carried = quadratic(target[i : i + 1]), cold.carried[i : i + 1]
        alone = plan(planner, score, BOX, 1, carried, fresh[i : i + 1], seed=2)
        torch.testing.assert_close(together.actions[i : i + 1], alone.actions)
        torch.testing.assert_close(together.returns[i : i + 1], alone.returns)


@pytest.mark.parametrize("planner", [ICEM(40, 5, elites=5), MPPI(40, 5)], ids=repr)
def test_problems_draw_for_themselves(planner: Planner) -> None:
    score = Recording(flat)
    plan(planner, score, problems=3)
    asked = score.asked[0]
    assert not torch.equal(asked[0], asked[1])
    assert not torch.equal(asked[1], asked[2])


@pytest.mark.parametrize("planner", [ICEM(50, 3, elites=5), MPPI(50, 3)], ids=repr)
def test_a_seed_decides_everything(planner: Planner) -> None:
    score = quadratic(torch.full((2, 3, 2), 2.2))
    before = torch.get_rng_state()
    one, two, other = (plan(planner, score, BOX, 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, two.actions)
    assert not torch.equal(one.actions, other.actions)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "planner", [ICEM(50, 3, elites=5), ICEM(50, 3, elites=5, action="mean"), MPPI(50, 3)], ids=repr
)
def test_one_problem_without_hope_spoils_no_other(planner: Planner) -> None:
    """Problem 0 is lost whatever it does, problem 1 in half of its range."""

    def score(actions: Tensor) -> Tensor:
        returns = -1e6 - actions[..., 0, 0]
        returns = torch.where(actions[..., 0, 0] < 1.0, returns, -torch.inf)
        returns[0] = -torch.inf
        return returns

    found = plan(planner, score, problems=2)
    again = plan(planner, score, BOX, 2, found.carried)
    for each in (found, again):
        assert torch.isfinite(each.actions).all()
        assert BOX.contains(each.action[0].numpy())
        assert each.returns[0] == -torch.inf
        assert torch.isfinite(each.returns[1])
        assert each.action[1, 0] < 1.0


def test_lost_elites_do_not_count() -> None:
    """Three candidates are worth something, and eight elites are asked for."""

    def score(actions: Tensor) -> Tensor:
        returns = lost(actions)
        returns[:, 4:7] = 1.0
        return returns

    asked = Recording(score)
    found = plan(ICEM(20, 3, elites=8, rounds=1, action="mean"), asked)
    torch.testing.assert_close(found.actions[0], asked.asked[0][0, 4:7].mean(0))


@pytest.mark.parametrize("planner", [ICEM(), MPPI()], ids=repr)
def test_discrete_actions_are_refused(planner: Planner) -> None:
    name = type(planner).__name__
    with pytest.raises(TypeError, match=f"{name} plans continuous actions; use RandomShooting"):
        plan(planner, flat, THREE)


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [ICEM, MPPI])
def test_beta_makes_neighbouring_actions_alike(planner: Any) -> None:
    def alike(beta: float) -> float:
        score = Recording(flat)
        plan(planner(candidates=2000, horizon=12, rounds=1, beta=beta, deviation=0.2), score)
        moves = scaled(score.asked[0])[0, 1:-1, :, 0].numpy()
        return float(np.mean([np.corrcoef(moves[:, t : t + 2].T)[0, 1] for t in range(11)]))

    white, slow, slower = alike(0.0), alike(1.0), alike(3.0)
    assert abs(white) < 0.03
    assert 0.3 < slow < 0.6
    assert slower > 0.8


@pytest.mark.parametrize("planner", [ICEM, MPPI])
@pytest.mark.parametrize("deviation", [0.05, 0.2])
def test_the_first_round_is_as_wide_as_its_spread(planner: Any, deviation: float) -> None:
    score = Recording(flat)
    plan(planner(candidates=4000, horizon=3, rounds=1, deviation=deviation), score, problems=2)
    moves = scaled(score.asked[0])
    assert moves.mean(1).abs().max() < 0.1 * deviation
    assert (moves.std(1) / deviation - 1).abs().max() < 0.05


def test_rounds_have_fewer_and_fewer_candidates() -> None:
    for decay, expected in (
        (1.0, [50, 50, 50, 50]),
        (1.25, [50, 40, 32, 25]),
        (2, [50, 25, 16, 16]),
    ):
        planner = ICEM(50, 3, elites=8, rounds=4, decay=decay)
        score = Recording(flat)
        plan(planner, score)
        assert [asked.shape[1] for asked in score.asked] == expected
        assert list(planner.sizes) == expected


def test_the_best_of_a_round_are_tried_again() -> None:
    target = torch.full((4, 6, 2), 2.3)
    score = Recording(quadratic(target))
    # White noise of full width: a round on its own does not reach what the last one found.
    settings: dict[str, Any] = {"rounds": 5, "beta": 0.0, "deviation": 2.0, "keep": 0.9}
    plan(ICEM(40, 6, elites=10, carry=0.3, **settings), score, problems=4)
    best = torch.stack([quadratic(target)(asked).amax(1) for asked in score.asked])
    assert (best[1:] >= best[:-1]).all()
    for before, after in zip(score.asked[:-1], score.asked[1:], strict=True):
        top = quadratic(target)(before).topk(3, dim=1).indices
        for i in range(4):
            assert torch.equal(after[i, :3], before[i, top[i]])

    forgetful = Recording(quadratic(target))
    plan(ICEM(40, 6, elites=10, carry=0.0, **settings), forgetful, problems=4)
    best = torch.stack([quadratic(target)(asked).amax(1) for asked in forgetful.asked])
    assert (best[1:-1] < best[:-2]).any()


def test_the_best_of_the_last_decision_are_tried_again() -> None:
    planner = ICEM(30, 5, elites=10, rounds=2, carry=0.4)
    target = LOW + SPAN * torch.rand((3, 5, 2), generator=generator(3))
    before = Recording(quadratic(target))
    found = plan(planner, before, problems=3)
    top = quadratic(target)(before.asked[-1]).topk(4, dim=1).indices
    cold, warm = Recording(flat), Recording(flat)
    plan(planner, cold, problems=3, seed=1)
    plan(planner, warm, BOX, 3, found.carried, [False, True, False], seed=1)
    for i in (0, 2):
        torch.testing.assert_close(warm.asked[0][i, :4, :-1], before.asked[-1][i, top[i], 1:])
        assert not torch.equal(warm.asked[0][i, 4:], cold.asked[0][i, 4:])
    torch.testing.assert_close(warm.asked[0][1], cold.asked[0][1])  # its episode has just begun


@pytest.mark.parametrize("planner", [ICEM, MPPI])
def test_the_search_goes_on_from_the_old_plan_shifted(planner: Any) -> None:
    target = LOW + SPAN * (0.2 + 0.6 * torch.rand((2, 4, 2), generator=generator(3)))
    found = plan(planner(candidates=100, horizon=4, rounds=6), quadratic(target), problems=2)
    score = Recording(flat)
    narrow = planner(candidates=400, horizon=4, rounds=1, deviation=0.01)
    plan(narrow, score, BOX, 2, found.carried, [False, True])
    means = scaled(score.asked[0][:, 20:]).mean(1)
    expected = scaled(torch.cat([target[:, 1:], target[:, -1:]], dim=1))[0]
    assert (means[0] - expected).abs().max() < 0.2
    assert expected.abs().max() > 0.3
    assert means[1].abs().max() < 0.01


def test_the_last_round_tries_the_mean() -> None:
    score = Recording(lambda actions: -torch.arange(actions.shape[1]).repeat(2, 1).double())
    plan(ICEM(30, 4, elites=5, rounds=3, carry=0.0, keep=0.0), score, problems=2)
    expected = score.asked[1][:, :5].mean(1)  # whatever they are, the first five are the elites
    again = [asked[:, -1] for asked in score.asked]
    torch.testing.assert_close(again[2], expected)
    assert not torch.allclose(again[1], score.asked[0][:, :5].mean(1))


def test_the_plan_is_the_best_or_the_mean() -> None:
    value = torch.arange(40.0)[None]
    for action in ("best", "mean"):
        score = Recording(lambda actions: value)
        found = plan(ICEM(40, 3, elites=8, rounds=2, decay=1.0, action=action), score)
        last = score.asked[-1][0]
        expected = last[-1] if action == "best" else last[-8:].mean(0)
        torch.testing.assert_close(found.actions[0], expected)
        torch.testing.assert_close(found.action, found.actions[:, 0])
        assert found.returns.item() == pytest.approx(39.0 if action == "best" else 35.5)


def test_keep_holds_the_distribution_back() -> None:
    def second_round(keep: float) -> tuple[float, float]:
        score = Recording(lambda actions: actions[..., 0, 0])
        settings: dict[str, Any] = {"carry": 0.0, "deviation": 0.2, "decay": 1.0}
        plan(ICEM(2000, 1, elites=50, rounds=2, keep=keep, **settings), score)
        first, second = (scaled(asked)[0, :-1, 0, 0] for asked in score.asked)
        return second.mean().item(), (second.std() / first.std()).item()

    shift, width = second_round(0.0)
    kept_shift, kept_width = second_round(0.9)
    assert shift > 0.3
    assert width < 0.5
    assert 0.02 < kept_shift < 0.3 * shift
    assert kept_width > 0.8


def test_fewer_elites_are_greedier() -> None:
    few, many = (
        plan(ICEM(200, 1, elites=n, rounds=1, action="mean"), lambda a: a[..., 0, 0]).returns
        for n in (5, 100)
    )
    assert few > many + 0.3


@pytest.mark.parametrize("planner", [ICEM, MPPI])
def test_more_rounds_and_more_candidates_get_closer(planner: Any) -> None:
    target = torch.tensor([[[2.5, 2.1]]]).expand(30, 2, 2)
    score = quadratic(target)

    def value(**settings: Any) -> Tensor:
        found = plan(planner(horizon=2, **settings), score, problems=30)
        return score(found.actions[:, None]).mean()

    assert value(candidates=40, rounds=4) > 0.6 * value(candidates=40, rounds=1)
    assert value(candidates=300, rounds=1) > 0.8 * value(candidates=20, rounds=1)


def test_what_is_carried_over_may_lose_rows() -> None:
    """The MPC's state, of which an evaluation drops the episodes that are over."""
    world = Regulator()
    mpc = MPC(world, agent=[0, 1, 2], task=world, planner=ICEM(40, 6, elites=8))
    agents = np.arange(3)
    _, state = mpc.plan(agents, STARTS)
    assert state[0].shape == (3, 1 + 2, 6, 1)
    kept = np.array([0, 2])
    dropped = tuple(part[kept] for part in state)
    actions, after = mpc.plan(agents[kept], STARTS[kept], dropped)  # type: ignore[arg-type]
    assert actions.shape == (2, 1)
    assert after[0].shape == (2, 3, 6, 1)


INVALID: list[tuple[dict[str, Any], str]] = [
    *[({name: 0}, f"{name} must be a positive integer, got 0")
      for name in ("candidates", "horizon", "elites", "rounds")],
    ({"candidates": 19, "elites": 10}, "candidates must be at least twice the elites, got 19"),
    *[({"beta": value}, "beta must be a number, at least 0 and at most 10, got")
      for value in (-1.0, float("nan"), float("inf"), 11, "2", None, True)],
    *[({"deviation": value}, "deviation must be a number, more than 0, got")
      for value in (0, -1.0)],
    ({"decay": 0.9}, "decay must be a number, at least 1, got 0.9"),
    *[({"carry": value}, "carry must be a number, at least 0 and at most 1") for value in (-1, 2)],
    *[({"keep": value}, "keep must be in") for value in (-0.1, 1.0, float("nan"))],
    ({"action": "worst"}, "action must be one of best, mean, got 'worst'"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), INVALID)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ICEM(**settings)
