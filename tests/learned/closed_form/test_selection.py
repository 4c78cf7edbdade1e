"""What is chosen, what is chosen down, and what every option of a closed-form fit does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.closed_form import selection
from persim_gym.learned.closed_form.search import Trial, settled
from persim_gym.learned.config import ClosedForm
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
    searches = Path(__file__).with_name("test_search.py").read_text("utf-8")
    tests = set(re.findall(r"^def (\w+)", searches, re.MULTILINE)) | globals().keys()
    assert set(TESTED.values()) <= tests


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


@pytest.mark.slow
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
    closed = fit(method="auto", ensemble_size=2, seed=0).card  # other families do not mind
    assert closed["fitted_by"] in ("hierarchical", "latent", "mixture")
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
    assert {"als", "hierarchical", "latent"} <= set(compared)
    assert compared["latent"] < compared["als"]
    assert sim.card["fitted_by"] in ("latent", "mixture")


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
