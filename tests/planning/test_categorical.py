"""The categorical cross-entropy method: known optima, and what each of its settings does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym.planning import CategoricalCEM
from persim_gym.planning.categorical import draw
from tests.planning.scores import THREE, Recording, generator, plan, table_score


class Tables:
    """Deterministic worlds of a few states: where each action leads, and what it earns."""

    def __init__(self, problems: int, states: int, actions: int, seed: int = 0) -> None:
        rng = generator(seed)
        shape = (problems, states, actions)
        self.leads = torch.randint(states, shape, generator=rng)
        self.earns = torch.rand(shape, generator=rng, dtype=torch.float64)

    def score(self, actions: Tensor) -> Tensor:
        """Returns of sequences, all from state 0."""
        p, k, h = actions.shape
        rows = torch.arange(p)[:, None].expand(p, k)
        state = torch.zeros((p, k), dtype=torch.long)
        total = torch.zeros((p, k), dtype=torch.float64)
        for t in range(h):
            total = total + self.earns[rows, state, actions[:, :, t]]
            state = self.leads[rows, state, actions[:, :, t]]
        return total

    def optimum(self, h: int) -> tuple[Tensor, Tensor]:
        """Best returns and first actions, by dynamic programming from the end."""
        p, states, actions = self.leads.shape
        value = torch.zeros((p, states), dtype=torch.float64)
        for _ in range(h):
            following = value.gather(1, self.leads.view(p, -1)).view(p, states, actions)
            worth = self.earns + following
            value = worth.max(dim=2).values
        return value[:, 0], worth[:, 0].argmax(dim=1)


def corridor(prizes: list[float]) -> Tables:
    """21 places in a row: a tenth for staying in the first, a prize for staying in the twelfth."""
    worlds, places = Tables(len(prizes), 21, 3), torch.arange(21)
    ways = [(places - 1).clamp_min(0), places, (places + 1).clamp_max(20)]
    worlds.leads = torch.stack(ways, dim=1).repeat(len(prizes), 1, 1)
    worlds.earns = torch.zeros((len(prizes), 21, 3), dtype=torch.float64)
    worlds.earns[:, 0, 1] = 0.1
    worlds.earns[:, 12, 1] = torch.tensor(prizes, dtype=torch.float64)
    return worlds


def test_it_finds_the_optimum_of_small_worlds() -> None:
    worlds = Tables(problems=12, states=9, actions=3)
    best, first = worlds.optimum(5)
    planner = CategoricalCEM(100, 5, elites=10, rounds=12, floor=0.5, sticky=(0.0, 0.5))
    found = plan(planner, worlds.score, THREE, problems=12)
    torch.testing.assert_close(found.returns, best)
    assert torch.equal(found.action, first)
    assert torch.equal(found.action, found.actions[:, 0])
    torch.testing.assert_close(worlds.score(found.actions[:, None])[:, 0], best)
    assert set(found.action.tolist()) == {0, 1, 2}, "worlds that ask for different actions"


def test_it_finds_the_optimum_that_takes_twelve_equal_steps() -> None:
    worlds = corridor([1.0, 2.0, 3.0, 0.1, 0.05, 0.2])
    best, first = worlds.optimum(20)
    assert first.tolist() == [2, 2, 2, 1, 1, 1]
    found = plan(CategoricalCEM(100, 20, rounds=8, sticky=(0.0, 0.9)), worlds.score, THREE, 6)
    torch.testing.assert_close(found.returns, best)
    assert torch.equal(found.action, first)
    # Independent steps never get there, whatever the prize.
    near = plan(CategoricalCEM(100, 20, rounds=8, sticky=0.0), worlds.score, THREE, 6)
    assert near.action.tolist() == [1] * 6


def test_refinement_finds_more_than_as_many_candidates_at_once() -> None:
    # Two hits in 50 steps that say nothing of each other: what is found must be built upon.
    target = torch.randint(3, (20, 1, 30), generator=generator(5))

    def score(actions: Tensor) -> Tensor:
        return (actions == target).sum(-1).double()

    once = plan(CategoricalCEM(300, 30, elites=30, rounds=1, sticky=0.0), score, THREE, 20)
    often = plan(CategoricalCEM(50, 30, elites=5, rounds=6, sticky=0.0), score, THREE, 20)
    assert often.returns.mean() > once.returns.mean() + 4


def test_a_batch_is_its_problems_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds, numbers = Tables(problems=3, states=5, actions=3), generator(4)
    planner = CategoricalCEM(20, 6, elites=4, rounds=3)
    previous = torch.randint(3, (3, 6), generator=generator(1))
    fresh = torch.tensor([False, True, False])
    tables = torch.rand((100, 3, 20, 6), generator=numbers)
    calls: list[int] = []
    chosen = torch.arange(3)

    def dealt(*_: Any, **__: Any) -> Tensor:
        """What the problems that are planned for would draw, whoever is beside them."""
        calls.append(1)
        return tables[len(calls), chosen]

    monkeypatch.setattr(torch, "rand", dealt)
    together = planner.plan(worlds.score, THREE, 3, previous, fresh, generator())
    for i in range(3):
        chosen = torch.tensor([i])
        own = Tables(1, 5, 3)
        own.leads, own.earns = worlds.leads[i : i + 1], worlds.earns[i : i + 1]
        rows = slice(i, i + 1)
        calls.clear()
        alone = planner.plan(own.score, THREE, 1, previous[rows], fresh[rows], generator())
        assert torch.equal(alone.actions[0], together.actions[i])
        assert alone.returns[0] == together.returns[i]
    assert len(calls) > 3


def test_what_is_worth_minus_infinity_is_no_example() -> None:
    # One sequence in 27 is worth anything, and half of all are elites.
    def score(actions: Tensor) -> Tensor:
        return torch.where((actions == 2).all(-1), 1.0, -torch.inf)

    asked = Recording(score)
    plan(CategoricalCEM(200, 3, elites=100, rounds=2, keep=0.0, sticky=0.0), asked, THREE)
    assert (asked.asked[0] == 2).double().mean() < 0.4
    assert (asked.asked[1] == 2).double().mean() > 0.9
    # Where nothing is worth anything, all count alike.
    lost = Recording(lambda actions: torch.full(actions.shape[:2], -torch.inf))
    plan(CategoricalCEM(200, 3, elites=200, rounds=2, kept=1, sticky=0.0), lost, THREE)
    assert lost.asked[1].unique().tolist() == [0, 1, 2]


# -- going on from the previous plan ---------------------------------------------------------------


@pytest.mark.parametrize("trust", [0.0, 0.5, 0.9])
def test_the_first_round_leans_towards_the_previous_plan(trust: float) -> None:
    planner = CategoricalCEM(6000, 4, elites=5, rounds=1, floor=0.1, trust=trust)
    asked = Recording(lambda actions: torch.zeros(actions.shape[:2]))
    previous = torch.tensor([[0, 1, 2, 2], [0, 1, 2, 2]])
    plan(planner, asked, THREE, 2, previous, fresh=[False, True])
    drawn = asked.asked[0]
    assert drawn[0, 0, :-1].tolist() == [1, 2, 2]
    share = torch.stack([(drawn == action).double().mean(1) for action in range(3)], dim=-1)
    likely = 0.9 * (trust + (1 - trust) / 3) + 0.1 / 3
    for t, action in enumerate([1, 2, 2]):
        assert share[0, t, action] == pytest.approx(likely, abs=0.03)
    # Nothing is known of a last step, nor in an episode that begins.
    assert torch.allclose(share[0, 3], torch.tensor(1 / 3).double(), atol=0.03)
    assert torch.allclose(share[1], torch.tensor(1 / 3).double(), atol=0.03)


def test_a_plan_is_never_worse_than_the_previous_one_shifted() -> None:
    score, _ = table_score(problems=30, horizon=5)
    planner = CategoricalCEM(4, 5, elites=2, rounds=3, kept=1)  # too few to find it again
    asked = Recording(score)
    previous = torch.randint(3, (30, 5), generator=generator(3))
    found = plan(planner, asked, THREE, 30, previous)
    shifted = asked.asked[0][:, 0]
    assert torch.equal(shifted[:, :-1], previous[:, 1:])
    assert (found.returns >= score(shifted[:, None])[:, 0]).all()
    # Nor than anything else that was scored, in whichever round.
    best = torch.stack([score(actions).max(dim=1).values for actions in asked.asked]).max(dim=0)
    assert torch.equal(found.returns, best.values)
    assert len(best.indices.unique()) == 3, "the best comes from all rounds"


def test_plans_get_better_from_step_to_step() -> None:
    """A car that stays in place: what a decision has found is there for the next one."""
    target = torch.arange(40) % 3

    def score(actions: Tensor) -> Tensor:
        return -(actions != target[: actions.shape[-1]]).double().mean(-1)

    planner = CategoricalCEM(10, 20, elites=3, rounds=1, trust=0.8, sticky=0.0)
    returns, previous = [], None
    for step in range(30):
        target = (torch.arange(40) + step) % 3
        found = plan(planner, score, THREE, 1, previous, seed=step)
        previous = found.actions
        returns.append(float(found.returns))
    alone = [float(plan(planner, score, THREE, seed=step).returns) for step in range(30)]
    assert np.mean(returns[-10:]) > np.mean(alone[-10:]) + 0.1


# -- settings --------------------------------------------------------------------------------------


def favour(action: int) -> Any:
    """The more often an action is taken, the better."""
    return lambda actions: (actions == action).sum(-1).double()


def shares_of(actions: Tensor) -> list[float]:
    """How often each of three actions is taken."""
    return [float((actions == action).double().mean()) for action in range(3)]


@pytest.mark.parametrize("floor", [0.03, 0.3])
def test_the_floor_keeps_every_action_alive(floor: float) -> None:
    planner = CategoricalCEM(500, 20, elites=5, rounds=12, keep=0.0, floor=floor, sticky=0.0)
    asked = Recording(favour(1))
    found = plan(planner, asked, THREE)
    share = shares_of(asked.asked[-1])
    assert share[0] == pytest.approx(floor / 3, abs=0.01)
    assert share[2] == pytest.approx(floor / 3, abs=0.01)
    if floor < 0.1:
        assert found.actions.tolist() == [[1] * 20]


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_keep_holds_the_probabilities_back(keep: float) -> None:
    planner = CategoricalCEM(3000, 8, elites=30, rounds=2, keep=keep, floor=1e-6, sticky=0.0)
    asked = Recording(favour(2))
    plan(planner, asked, THREE)
    first, second = asked.asked
    top = favour(2)(first)[0].topk(30).indices
    elite = shares_of(first[0, top])
    expected = [keep / 3 + (1 - keep) * share for share in elite]
    assert shares_of(second) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("elites", [1, 400])
def test_fewer_elites_are_greedier(elites: int) -> None:
    planner = CategoricalCEM(400, 6, elites=elites, rounds=2, keep=0.0, floor=1e-6, sticky=0.0)
    asked = Recording(favour(0))
    plan(planner, asked, THREE)
    first, second = asked.asked
    best = first[0, favour(0)(first)[0].argmax()]
    if elites == 1:  # what is drawn is the elite itself
        assert (second[0] == best).all()
    else:  # and here everything, so that nothing was learned
        assert shares_of(second) == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize("kept", [1, 4])
def test_kept_elites_hold_against_worse_rounds(kept: int) -> None:
    rounds: list[Tensor] = []

    def score(actions: Tensor) -> Tensor:
        rounds.append(actions)
        return favour(1)(actions) - 100 * (len(rounds) > 1)

    planner = CategoricalCEM(
        200, 6, elites=4, rounds=3, keep=0.0, floor=0.9999, kept=kept, sticky=0.0
    )
    found = plan(planner, score, THREE)
    before = favour(1)(rounds[0])[0].topk(4)
    assert found.returns.item() == before.values[0]
    # The last round is drawn evenly, by its floor; what it was fitted to shows without one.
    rounds.clear()
    planner = CategoricalCEM(
        200, 6, elites=4, rounds=3, keep=0.0, floor=1e-6, kept=kept, sticky=0.0
    )
    plan(planner, score, THREE)
    first = rounds[0][0, favour(1)(rounds[0])[0].topk(4).indices]
    second = rounds[1][0, favour(1)(rounds[1])[0].topk(4 - kept).indices]
    elites = torch.cat([first[:kept], second])
    expected = [(elites == action).double().mean(0) for action in range(3)]
    drawn = [(rounds[2][0] == action).double().mean(0) for action in range(3)]
    torch.testing.assert_close(torch.stack(drawn), torch.stack(expected), atol=0.12, rtol=0)


@pytest.mark.parametrize("sticky", [0.0, 0.5, 0.95])
def test_stickiness_makes_blocks_and_leaves_probabilities(sticky: float) -> None:
    probabilities = torch.tensor([0.2, 0.5, 0.3]).expand(1, 40, 3)
    drawn = draw(probabilities, torch.full((8000,), sticky), generator())
    share = torch.stack([(drawn[0] == action).double().mean(0) for action in range(3)], dim=-1)
    torch.testing.assert_close(share, probabilities[0].double(), atol=0.025, rtol=0)
    same = float((drawn[..., 1:] == drawn[..., :-1]).double().mean())
    chance = 0.2**2 + 0.5**2 + 0.3**2
    assert same == pytest.approx(sticky + (1 - sticky) * chance, abs=0.01)


def test_probabilities_may_differ_from_step_to_step() -> None:
    probabilities = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]])
    drawn = draw(probabilities, torch.full((4000,), 0.9), generator())[0]
    assert (drawn[:, 0] == 0).all()
    assert (drawn[:, 1] == 1).all()
    assert float((drawn[:, 2] == 1).double().mean()) == pytest.approx(0.75, abs=0.03)


def test_candidates_share_out_several_stickinesses() -> None:
    planner = CategoricalCEM(9, 2000, elites=1, rounds=1, sticky=(0.0, 0.9, 0.99))
    asked = Recording(lambda actions: torch.zeros(actions.shape[:2]))
    plan(planner, asked, THREE)
    changes = (asked.asked[0][0, :, 1:] != asked.asked[0][0, :, :-1]).double().mean(-1)
    for i, sticky in enumerate((0.0, 0.9, 0.99)):
        own = changes[i::3]
        torch.testing.assert_close(
            own, torch.full_like(own, (1 - sticky) * 2 / 3), atol=0.05, rtol=0
        )


def test_sticky_candidates_find_what_takes_long_blocks() -> None:
    def score(actions: Tensor) -> Tensor:  # a swing to one side, then to the other
        left = (actions[..., :15] == 0).all(-1)
        return (left & (actions[..., 15:30] == 2).all(-1)).double()

    for sticky, found in ((0.95, True), (0.0, False)):
        planner = CategoricalCEM(2000, 30, elites=5, rounds=1, sticky=sticky)
        assert bool(plan(planner, score, THREE).returns > 0) is found


# -- edges -----------------------------------------------------------------------------------------


def test_a_horizon_of_one() -> None:
    planner = CategoricalCEM(30, 1, elites=3)
    previous = torch.tensor([[0]])
    for before in (None, previous):
        found = plan(planner, favour(2), THREE, 1, before)
        assert (found.action.tolist(), found.actions.tolist()) == ([2], [[2]])


def test_a_seed_decides_everything() -> None:
    score, _ = table_score(problems=2, horizon=5)
    planner = CategoricalCEM(5, 5, elites=2)
    runs = [plan(planner, score, THREE, 2, seed=seed).actions.tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_what_ranks_last_is_not_chosen() -> None:
    def score(actions: Tensor) -> Tensor:
        return torch.where((actions == 1).any(-1), -torch.inf, 0.0)

    found = plan(CategoricalCEM(300, 4, elites=10), score, THREE)
    assert found.returns.item() == 0
    assert 1 not in found.actions.tolist()[0]
    lost = plan(CategoricalCEM(20, 4, elites=2), lambda a: a[..., 0] * -torch.inf - 1, THREE)
    assert lost.actions.shape == (1, 4)


INVALID: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"{name} must be a positive integer, got {value!r}")
        for name in ("candidates", "horizon", "elites", "rounds", "kept")
        for value in (0, 1.5, True)
    ),
    ({"elites": 101}, "101 elites cannot be chosen of 100"),
    *(({name: 1.0}, rf"{name} must be in \[0, 1\), got 1.0") for name in ("keep", "trust")),
    *(({name: -0.1}, rf"{name} must be in \[0, 1\), got -0.1") for name in ("keep", "trust")),
    ({"floor": 0.0}, r"floor must be in \(0, 1\], got 0.0"),
    ({"floor": 1.1}, r"floor must be in \(0, 1\], got 1.1"),
    *(
        ({"sticky": value}, r"sticky must be in \[0, 1\), or a tuple")
        for value in (1.0, -0.1, (), (0.5, 1.0), True, "0.5", float("nan"))
    ),
]


@pytest.mark.parametrize(("settings", "message"), INVALID)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CategoricalCEM(**settings)


def test_continuous_actions_are_refused() -> None:
    space: Discrete | Box = Box(-1.0, 1.0, (2,), dtype=np.float32)
    with pytest.raises(TypeError, match="CategoricalCEM plans discrete actions"):
        plan(CategoricalCEM(), favour(0), space)
