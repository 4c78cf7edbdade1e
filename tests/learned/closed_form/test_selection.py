"""What is chosen, what is chosen down, and what every option of a closed-form fit does."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.closed_form import selection
from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.learned.closed_form.heldout import first_half, split_agents
from persim_gym.learned.config import EFFORTS, ClosedForm, plan_fit
from persim_gym.learned.search import DEGREES, Trial, Walk, settled
from tests.learned.closed_form.polynomial_worlds import LowRankWorld, open_loop, record
from tests.learned.worlds import PlainTask

WORLD = LowRankWorld(3, agents=40)
DATA = WORLD.record(40)


def fit(data: Any = DATA, task: PlainTask = WORLD.task, **options: Any) -> PerSim:
    chosen = {"method": "als", "ensemble_size": 1, "progress": False} | options
    return PerSim.fit(data, task=task, **chosen)


def chosen(sim: PerSim) -> dict[str, Any]:
    found: dict[str, Any] = sim.card["metrics"]["chosen"]
    return found


def median_error(sim: PerSim, world: LowRankWorld = WORLD) -> float:
    agents = np.arange(world.agents)
    return float(np.median(open_loop(sim, world.law, world.task, agents)))


# -- every option ----------------------------------------------------------------------------------

TESTED = {
    "degree": "test_a_degree_that_is_given_is_fitted",
    "rank": "test_a_rank_that_is_given_is_fitted",
    "threshold": "test_a_threshold_drops_terms",
    "effort": "test_a_budget_ends_a_search_and_it_is_said",
    "ridge": "test_ridge_shrinks",
    "rounds": "test_rounds_end_a_fit",
    "ensemble_size": "test_members_are_as_many_as_asked_for",
    "lag": "test_lag_shows_the_past",
    "skip_clipped": "test_transitions_on_bounds_are_left_out",
    "seed": "test_a_seed_makes_a_fit_again",
}


def test_every_option_has_a_test() -> None:
    assert set(TESTED) == {field.name for field in dataclasses.fields(ClosedForm)}
    assert all(name in globals() for name in TESTED.values())


@pytest.mark.slow
@pytest.mark.parametrize("degree", [1, 4])
def test_a_degree_that_is_given_is_fitted(degree: int) -> None:
    sim = fit(degree=degree, threshold=0.0)
    assert chosen(sim)["degree"] == degree
    assert sim.ensemble.monomials.degree == degree  # type: ignore[attr-defined]
    assert (median_error(sim) < 1e-5) == (degree >= 2)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_rank_that_is_given_is_fitted(rank: int) -> None:
    sim = fit(rank=rank)
    assert sim.ensemble.rank == chosen(sim)["rank"] == rank
    assert (median_error(sim) < 1e-5) == (rank >= 3)


@pytest.mark.slow
def test_a_threshold_drops_terms() -> None:
    terms = [chosen(fit(degree=4, rank=3, threshold=t))["terms"] for t in (0.0, 1e-3, 0.2)]
    assert terms[0] == 3 * 3 * 15 * 2
    assert terms[1] == 3 * 3 * 6 * 2  # exactly the law's
    assert terms[2] < terms[1]


def test_ridge_shrinks() -> None:
    sizes = [
        float(fit(degree=2, rank=1, threshold=0.0, ridge=r).ensemble.weights.norm())  # type: ignore[attr-defined]
        for r in (0.0, 1.0)
    ]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.slow
def test_rounds_end_a_fit() -> None:
    few, many = (fit(degree=2, rank=3, rounds=r, ensemble_size=1) for r in (1, 200))
    assert few.card["config"]["rounds"] == 1
    assert not np.array_equal(few.latent_factors, many.latent_factors)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 4])
def test_members_are_as_many_as_asked_for(members: int) -> None:
    sim = fit(LowRankWorld(2, 40).record(10, noise=1e-2), ensemble_size=members)
    assert sim.members == members
    spread = sim.predict_members([0], np.full((1, 2), 0.5), [0]).std(0)
    assert (spread > 0).all() == (members > 1)


@pytest.mark.slow
def test_lag_shows_the_past() -> None:
    """A law of the state and the one before: of the state alone nothing good can be learned."""
    rng = np.random.default_rng(0)
    pull = rng.uniform(0.5, 1.5, 30)
    states = [rng.uniform(-1, 1, (30, 1)), rng.uniform(-1, 1, (30, 1))]
    actions = rng.integers(3, size=(60, 30))
    for t in range(60):
        back = -0.4 * pull[:, None] * states[-2]
        states.append(0.5 * states[-1] + back + 0.2 * (actions[t, :, None] - 1))
    walk = np.stack(states[1:], 1).astype(np.float32)  # [30, 61, 1]
    data = dataclasses.replace(
        record(lambda s, a, u: s, PlainTask.of(1, actions=3), 30, 60, restart=60),
        obs=walk[:, :-1].reshape(-1, 1),
        next_obs=walk[:, 1:].reshape(-1, 1),
        action=actions.T.reshape(-1),
    )
    one, two = (fit(data, PlainTask.of(1, actions=3), lag=lag) for lag in (1, 2))
    assert two.lag == 2
    assert two.card["metrics"]["heldout_rmse"] < 0.01 * one.card["metrics"]["heldout_rmse"]
    past = two.states(np.stack([walk[:, 3], walk[:, 4]], axis=1), actions[3][:, None])
    exact = 0.5 * walk[:, 4] - 0.4 * pull[:, None] * walk[:, 3]
    agents = np.arange(30)
    np.testing.assert_allclose(two.predict(agents, past, np.ones(30, int)), exact, atol=1e-5)
    steps = two.rollout(agents, past, np.ones((30, 5), dtype=int)).mean(0)
    before, now = walk[:, 3].astype(float), walk[:, 4].astype(float)
    for t in range(5):
        before, now = now, 0.5 * now - 0.4 * pull[:, None] * before
        np.testing.assert_allclose(steps[:, t], now, atol=1e-5)


@pytest.mark.slow
def test_transitions_on_bounds_are_left_out() -> None:
    task = PlainTask.of(2, actions=3, low=-0.6)
    data = record(WORLD.law, task, 40, 40)
    assert (np.abs(data.next_obs) == np.float32(0.6)).any()
    left = fit(data, task)
    kept = fit(data, task, skip_clipped=False)
    state = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2)).astype(np.float32)
    action = np.ones(40, dtype=int)
    exact = WORLD.law(state.astype(float), np.arange(40), action)
    errors = [np.abs(sim.predict(np.arange(40), state, action) - exact) for sim in (left, kept)]
    inside = (np.abs(exact) < 0.6).all(1)
    assert errors[0][inside].max() < 1e-6
    assert errors[1][inside].max() > 1e-4


@pytest.mark.slow
def test_a_seed_makes_a_fit_again() -> None:
    noisy = WORLD.record(40, noise=1e-3)
    first, again, other = (fit(noisy, degree=2, ensemble_size=2, seed=s) for s in (1, 1, 2))
    for name, tensor in first.ensemble.tensors().items():
        torch.testing.assert_close(again.ensemble.tensors()[name], tensor, rtol=0, atol=0)
    assert first.card["metrics"]["trials"] == again.card["metrics"]["trials"]
    assert not np.array_equal(first.latent_factors, other.latent_factors)


# -- what is asked for beyond the data -------------------------------------------------------------


@pytest.mark.slow
def test_a_degree_beyond_the_data_is_chosen_down() -> None:
    with pytest.warns(UserWarning, match="degree 40 was asked for.*861 monomials are too many"):
        sim = fit(degree=40)
    assert chosen(sim)["degree"] == 2
    assert sim.card["metrics"]["notes"][0].startswith("degree 40 was asked for")


def test_a_rank_beyond_the_agents_is_chosen_down() -> None:
    world = LowRankWorld(3, agents=6)
    with pytest.warns(UserWarning, match="rank 9 was asked for, rank 6 is fitted: of 6 agents"):
        sim = fit(world.record(60), rank=9)
    assert sim.ensemble.rank == 6
    assert any("rank 9" in note for note in sim.card["metrics"]["notes"])
    assert np.isfinite(median_error(sim, world))


@pytest.mark.slow
def test_degrees_that_the_data_do_not_carry_are_not_tried() -> None:
    world = LowRankWorld(2, agents=10)
    sim = fit(world.record(12))
    notes = sim.card["metrics"]["notes"]
    assert any("not tried: " in note and "too few" in note for note in notes), notes
    assert max(trial["degree"] for trial in sim.card["metrics"]["trials"]) <= 3


@pytest.mark.slow
def test_a_candidate_that_fails_is_noted_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = selection.alternate

    def failing(stats: Any, factors: Any, **options: Any) -> Any:
        if stats.features == 3:  # degree 1
            raise FloatingPointError("beyond repair")
        return original(stats, factors, **options)

    monkeypatch.setattr(selection, "alternate", failing)
    sim = fit()
    assert chosen(sim)["degree"] == 2
    assert any("degree 1, rank 1 failed: beyond repair" in n for n in sim.card["metrics"]["notes"])

    def always(stats: Any, factors: Any, **options: Any) -> Any:
        raise FloatingPointError("beyond repair")

    monkeypatch.setattr(selection, "alternate", always)
    with pytest.raises(FloatingPointError, match="no closed-form fit could be computed"):
        fit()
    closed = fit(method="auto", ensemble_size=2, seed=0).card  # networks do not mind
    assert closed["fitted_by"] == "sgd"
    assert "no closed-form fit" in closed["metrics"]["closed_form"]


@pytest.mark.slow
def test_an_unstable_candidate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def escapes(windows: Any, ensemble: Any, law: bool) -> float:
        return 1.0 if ensemble.monomials.degree == 2 else 0.0

    monkeypatch.setattr(selection.Windows, "escapes", escapes)
    sim = fit()
    assert chosen(sim)["degree"] != 2
    assert chosen(sim)["escapes"] == 0
    notes = fit(degree=2, threshold=0.0).card["metrics"]["notes"]
    assert any(note.startswith("100% of long") for note in notes)


# -- held-out agents -------------------------------------------------------------------------------


def rows_of(agent: NDArray[np.int64], n: int) -> Rows:
    zeros = torch.zeros(len(agent), 1)
    return Rows(torch.as_tensor(agent), zeros, zeros[:, 0].long(), zeros, n, 1)


def test_agents_are_split_and_their_first_halves_known() -> None:
    lengths = [1, 0, *[6] * 30]
    agent = np.repeat(np.arange(32), lengths)
    learners, held = split_agents(rows_of(agent, 32), np.random.default_rng(0))
    assert not set(learners.tolist()) & set(held.tolist())
    assert set(learners.tolist()) | set(held.tolist()) == set(range(2, 32))
    assert len(held) == 6
    few = split_agents(rows_of(agent[agent < 8], 32), np.random.default_rng(0))
    assert len(few[0]) == 0
    assert sorted(few[1].tolist()) == list(range(2, 8))
    shuffled = torch.as_tensor(np.array([3, 1, 3, 3, 1, 2]))
    assert first_half(shuffled).tolist() == [True, True, True, False, False, True]


# -- the method ------------------------------------------------------------------------------------


def touching(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    """One coordinate goes to and fro; where it touches, it flips what moves the other."""
    touch = np.where(np.abs(s[:, 0]) < 0.15, 1.0, -1.0)
    return np.stack([0.5 * s[:, 0] + 0.25 * (u - 1), 0.2 * s[:, 1] + touch], 1)


@pytest.mark.slow
def test_auto_takes_the_closed_form_where_it_finds_the_law() -> None:
    sim = fit(method="auto")
    assert sim.card["fitted_by"] == "als"
    assert "compared" not in sim.card["metrics"]
    assert sim.card["metrics"]["unexplained"] < 1e-10


@pytest.mark.slow
def test_auto_compares_where_the_law_is_none() -> None:
    task = PlainTask.of(2, actions=3)
    data = record(touching, task, 20, 300, restart=300)
    sim = fit(data, task, method="auto", ensemble_size=2)
    compared = sim.card["metrics"]["compared"]
    assert set(compared) == {"als", "sgd"}
    assert compared["sgd"] < compared["als"]
    assert sim.card["fitted_by"] == "sgd"


def test_options_decide_the_method_and_cannot_be_of_both() -> None:
    assert plan_fit("plain", options={"degree": 2}).method == "als"
    assert plan_fit("plain", options={"epochs": 2}).method == "sgd"
    assert plan_fit("plain", options={"rank": 2}).method == "auto"
    with pytest.raises(ValueError, match=r"'epochs' is an option of networks.*'degree' one of the"):
        plan_fit("plain", options={"degree": 2, "epochs": 3})
    with pytest.raises(ValueError, match="unknown option 'epochs' of a closed-form fit"):
        plan_fit("plain", method="als", options={"epochs": 3})
    with pytest.raises(ValueError, match="unknown option 'degree' of a fit"):
        plan_fit("plain", method="sgd", options={"degree": 3})


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("degree", 0, "degree must be a positive integer"),
        ("degree", 2.0, "degree must be a positive integer"),
        ("rank", True, "rank must be a positive integer"),
        ("rounds", None, "rounds must be a positive integer"),
        ("threshold", 1.0, r"threshold must be in \[0, 1\)"),
        ("ridge", -1e-9, r"ridge must be in \[0, 1\]"),
        ("ridge", float("nan"), r"ridge must be in \[0, 1\]"),
        ("skip_clipped", 1, "skip_clipped must be True or False"),
        ("seed", -1, "seed must be an integer"),
        ("effort", "much", "effort must be one of quick, default, thorough"),
        ("ensemble_size", "five", "ensemble_size must be a positive integer"),
    ],
)
def test_invalid_options_are_refused_before_work(option: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(**{option: value})


class Table:
    """Degrees and ranks whose errors are known."""

    def __init__(self, errors: Any, escapes: Any = lambda d, r: 0.0) -> None:
        self.errors, self.escapes = errors, escapes

    def most_rank(self, degree: int, asked: bool = False) -> tuple[int, str]:
        return 12, ""

    def work(self, degree: int, rank: int) -> float:
        return 1e8

    def attempt(self, degree: int, rank: int) -> Trial:
        error = self.errors(degree, rank)
        return Trial(
            degree, rank, 0.0, float(np.log(error)), error, error, self.escapes(degree, rank),
            rank * (degree + 1) ** 2,
        )  # fmt: skip


def by_rank(*errors: float) -> Any:
    return lambda degree, rank: errors[min(rank, len(errors)) - 1]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (by_rank(0.39, 0.37, 0.36, 0.005, 0.005), (1, 4)),  # nothing to see at ranks 2 and 3
        (by_rank(0.10, 0.10, 0.10, 0.0001, 0.0001), (3, 4)),  # nor where much is explained
        (by_rank(*[0.38] * 7, 0.0001), (5, 8)),
        (by_rank(*[0.38] * 12), (1, 1)),  # and at some point it ends
        # Degree and rank need each other: neither alone shows anything.
        (lambda d, r: 0.15 if r < 4 or d < 3 else 0.001, (3, 4)),
        (lambda d, r: 0.3 / (1 + max(0, d - 1) * max(0, r - 1)) ** 2, (12, 12)),
        (lambda d, r: 0.1 if d % 2 else 0.1 / d**2, (12, 1)),  # an even law
        (lambda d, r: 0.2 / 1.1**r, (1, 11)),  # small gains count together
    ],
)
def test_the_search_goes_on_where_something_is_missing(errors: Any, expected: Any) -> None:
    walk = Walk(Table(errors), "thorough")
    found = walk.run(DEGREES, None, forced=False)
    assert found is not None
    assert (found.degree, found.rank) == expected
    assert walk.ended


def test_an_unstable_candidate_may_be_the_way_to_a_stable_one() -> None:
    leaving = lambda d, r: 0.5 if d in (2, 3) else 0.0  # noqa: E731
    found = Walk(Table(lambda d, r: 0.4 / 4**d, leaving)).run(DEGREES, None, forced=False)
    assert found is not None
    assert found.degree > 3


def test_a_budget_ends_a_search_and_it_is_said() -> None:
    table = Table(lambda d, r: 0.9 / (d * r))
    walks = {effort: Walk(table, effort) for effort in EFFORTS}
    for walk in walks.values():
        walk.run(DEGREES, None, forced=False)
    tried = [len(walks[effort].trials) for effort in EFFORTS]
    assert tried[0] < tried[1] <= tried[2]
    assert "effort 'quick' was spent before" in walks["quick"].ended


def test_which_is_chosen_does_not_depend_on_the_last_bits() -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1e-9, 1e-9, (13, 13, 8))
    chosen = set()
    for seed in range(8):
        table = Table(lambda d, r, k=seed: (0.05 if d < 3 else 0.01) * (1 + noise[d, r, k]))
        found = Walk(table).run(DEGREES, None, forced=False)
        assert found is not None
        chosen.add((found.degree, found.rank))
    assert chosen == {(3, 1)}


@pytest.mark.parametrize(
    ("errors", "escapes", "expected"),
    [
        ((0.01, 0.05), (0.0, 0.0), 0),
        ((0.01, 0.05), (0.3, 0.0), 1),
        ((0.01, 0.5), (0.3, 0.0), 0),  # what stays there is of no use
        ((0.01, 0.05), (0.3, 0.3), 0),
    ],
)
def test_of_those_left_a_stable_one_is_taken_unless_much_worse(
    errors: Any, escapes: Any, expected: int
) -> None:
    trials = [
        Trial(1, 1, 0.0, float(np.log(e)), e, e, away, 1)
        for e, away in zip(errors, escapes, strict=True)
    ]
    assert settled(trials) is trials[expected]
