"""Closed-form fits of worlds whose law is known, and of data that lack something."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from tests.learned.closed_form.polynomial_worlds import LowRankWorld, box_task, open_loop, record
from tests.learned.worlds import PlainTask

EXACT = 2e-7  # an error that only rounding to single precision leaves


def fit(data: Any, task: PlainTask, **options: Any) -> PerSim:
    chosen = {"method": "als", "ensemble_size": 1, "progress": False} | options
    return PerSim.fit(data, task=task, **chosen)


# -- worlds that are low-rank polynomials ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("continuous", "rank", "noise"),
    [(False, 1, 0.0), (True, 2, 1e-4), (False, 3, 1e-2), (True, 3, 0.0), (False, 4, 1e-4)],
)
def test_low_rank_worlds_are_recovered(continuous: bool, rank: int, noise: float) -> None:
    world = LowRankWorld(rank, agents=40, seed=rank, continuous=continuous)
    sim = fit(world.record(40, noise=noise), world.task)
    chosen = sim.card["metrics"]["chosen"]
    assert (chosen["degree"], chosen["rank"]) == (2, rank)
    assert chosen["escapes"] == 0
    error = open_loop(sim, world.law, world.task, np.arange(40))
    assert np.median(error) < max(EXACT, 1.2 * noise)
    assert error.max() < max(EXACT, 10 * noise)
    # What is left is the noise that was put in.
    scale = sim.experience.change_scale
    left = np.array(sim.card["metrics"]["noise"]) * scale
    np.testing.assert_allclose(left, np.maximum(noise, left), rtol=0.1)
    assert (left < max(1e-6, 1.15 * noise)).all()


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@example(301, 1)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_any_low_rank_world_is_recovered(seed: int, rank: int) -> None:
    world = LowRankWorld(rank, agents=30, seed=seed)
    sim = fit(world.record(40, seed=seed), world.task, ensemble_size=1)
    assert np.median(open_loop(sim, world.law, world.task, np.arange(30))) < 1e-6


@pytest.mark.slow
def test_members_differ_as_much_as_the_data_leave_open() -> None:
    world = LowRankWorld(3, agents=40)
    lengths = [4] * 20 + [60] * 20
    sim = fit(world.record(lengths, noise=1e-2), world.task, ensemble_size=5)
    obs = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2)).astype(np.float32)
    spread = sim.disagreement(np.arange(40), obs, np.zeros(40, dtype=int))
    assert np.median(spread[:20]) > 1.5 * np.median(spread[20:])


# -- worlds that are not ---------------------------------------------------------------------------

PULL = np.random.default_rng(3).uniform(0.3, 1.5, 60)


def pendulum(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    turn = -PULL[a] * np.sin(2.5 * s[:, 0]) - 0.3 * s[:, 1] + 0.4 * (u - 1)
    return np.stack([s[:, 0] + 0.1 * s[:, 1], s[:, 1] + 0.1 * turn], 1)


def kinked(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    spring = np.where(s[:, 0] > 0, 2.0, 0.5) * s[:, 0]
    return np.stack(
        [s[:, 0] + 0.1 * s[:, 1], 0.9 * s[:, 1] - 0.1 * PULL[a] * spring + 0.05 * (u - 1)], 1
    )


def squashed(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    inner = np.tanh(3 * PULL[a][:, None] * s[:, ::-1] * [1, -1])
    return 0.9 * s + 0.2 * inner + 0.05 * (u - 1)[:, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "degree", "error"), [(pendulum, 4, 5e-3), (kinked, 2, 5e-2), (squashed, 3, 5e-2)]
)
def test_other_worlds_are_approximated_and_stay_stable(law: Any, degree: int, error: float) -> None:
    task = PlainTask.of(2, actions=3)
    data = record(law, task, 40, 40)
    sim = fit(data, task, effort="quick")
    chosen = sim.card["metrics"]["chosen"]
    assert chosen["degree"] >= degree
    assert chosen["escapes"] <= 0.05
    found = open_loop(sim, law, task, np.arange(40))
    assert np.median(found) < error
    linear = fit(data, task, degree=1)
    assert np.median(found) < 0.7 * np.median(open_loop(linear, law, task, np.arange(40)))
    # Long after the horizon of any plan a rollout is where the data are, if the truth is. What
    # becomes of one whose truth has left the record depends on the candidate, and which candidate
    # wins among equals on the last bits of a product.
    who, state = np.tile(data.agent[data.starts], 4), np.tile(data.obs[data.starts], (4, 1))
    actions = np.random.default_rng(0).integers(3, size=(len(who), 300))
    end = sim.rollout(who, state, actions)[:, :, -1]
    assert np.isfinite(end).all()
    most = np.abs(data.obs).max(0)
    stays = np.ones(len(who), dtype=bool)
    now: NDArray[Any] = state.astype(np.float64)
    for t in range(300):
        now = law(now, who, actions[:, t])
        stays &= (np.abs(now) <= most).all(-1)
    assert stays.mean() > 0.9
    outside = (np.abs(end) > 3 * most).any(-1)
    assert outside[:, stays].mean() < 0.03


@pytest.mark.slow
def test_a_world_that_grows_is_fitted_and_said_to_leave() -> None:
    def growth(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        return s * (1 + 0.05 * PULL[a][:, None]) + 0.01 * (u - 1)[:, None]

    task = PlainTask.of(2, actions=3)
    sim = fit(record(growth, task, 40, 40), task)
    assert np.median(open_loop(sim, growth, task, np.arange(40))) < 1e-6
    notes = sim.card["metrics"]["notes"]
    assert any("long rollouts leave the recorded range" in note for note in notes)


# -- data that lack something ----------------------------------------------------------------------


def test_a_single_agent_is_fitted_with_rank_one() -> None:
    world = LowRankWorld(3, agents=1)
    sim = fit(world.record(200), world.task)
    assert sim.ensemble.rank == 1
    assert open_loop(sim, world.law, world.task, [0]).max() < EXACT


@pytest.mark.slow
def test_two_agents_are_fitted() -> None:
    world = LowRankWorld(3, agents=2)
    sim = fit(world.record(60), world.task)
    assert sim.ensemble.rank == 2
    assert open_loop(sim, world.law, world.task, [0, 1]).max() < 1e-3


@pytest.mark.slow
def test_agents_with_one_transition_lean_on_the_others() -> None:
    world = LowRankWorld(2, agents=40)
    sim = fit(world.record([1] * 10 + [40] * 30), world.task)
    error = open_loop(sim, world.law, world.task, np.arange(40))
    assert error.max() < 1e-4  # one noise-free transition of two coordinates tells the one factor


@pytest.mark.slow
def test_an_agent_without_transitions_is_the_population_s_mean_and_refused() -> None:
    world = LowRankWorld(3, agents=40)
    sim = fit(world.record(40, num_agents=42), world.task, ensemble_size=1)
    assert sim.num_agents == 42
    np.testing.assert_allclose(sim.latent_factors[0, 40:], [[1, 0, 0]] * 2)
    with pytest.raises(ValueError, match="no transitions of agent 41"):
        sim.predict([41], np.zeros((1, 2)), [0])


def test_one_transition_of_each_agent_is_too_little() -> None:
    world = LowRankWorld(3, agents=40)
    with pytest.raises(ValueError, match=r"no agent has two transitions.*method='sgd'"):
        fit(world.record(1), world.task)


def test_too_few_transitions_are_refused_before_work() -> None:
    world = LowRankWorld(3, agents=1)
    with pytest.raises(ValueError, match=r"too few transitions.*even of degree 1"):
        fit(world.record(6), world.task)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.004])
def test_an_action_taken_never_or_hardly_ever_is_noted_and_harmless(share: float) -> None:
    world = LowRankWorld(3, agents=40)

    def choose(rng: np.random.Generator, n: int) -> NDArray[Any]:
        return np.where(rng.random(n) < share, 2, rng.integers(2, size=n))

    sim = fit(world.record(40, choose=choose), world.task)
    assert any(n.startswith("action 2 was taken too rarely") for n in sim.card["metrics"]["notes"])
    error = open_loop(sim, world.law, world.task, np.arange(40))
    assert np.isfinite(error).all()
    assert error.max() < 1.0  # was above 20 with weights of its own
    rng = np.random.default_rng(0)  # the actions that were taken are as good as ever
    state = rng.uniform(-1, 1, (40, 2)).astype(np.float32)
    two = rng.integers(2, size=40)
    exact = world.law(state.astype(float), np.arange(40), two)
    np.testing.assert_allclose(sim.predict(np.arange(40), state, two), exact, atol=1e-6)


def changed(data: Any, make: Any) -> Any:
    return dataclasses.replace(
        data,
        obs=make(data.obs).astype(np.float32),
        next_obs=make(data.next_obs).astype(np.float32),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda x: np.column_stack([x, np.full(len(x), 0.5)]), None),
        (lambda x: np.column_stack([x, x[:, 0]]), 1.0),
        (lambda x: np.column_stack([x, 1 - 2 * x[:, 0]]), -2.0),
    ],
    ids=["constant", "copy", "affine copy"],
)
def test_coordinates_that_tell_nothing_new(make: Any, factor: float | None) -> None:
    world = LowRankWorld(3, agents=40)
    data = changed(world.record(40), make)
    sim = fit(data, PlainTask.of(3, actions=3))
    rng = np.random.default_rng(1)
    state = make(rng.uniform(-0.7, 0.7, (40, 2)).astype(np.float32)).astype(np.float32)
    action = rng.integers(3, size=40)
    exact = make(world.law(state[:, :2].astype(float), np.arange(40), action))
    np.testing.assert_allclose(sim.predict(np.arange(40), state, action), exact, atol=2e-5)


@pytest.mark.slow
def test_a_constant_continuous_action() -> None:
    world = LowRankWorld(3, agents=40, continuous=True)

    def choose(rng: np.random.Generator, n: int) -> NDArray[Any]:
        return np.full((n, 1), 0.3, dtype=np.float32)

    sim = fit(world.record(40, choose=choose), world.task)
    state = np.random.default_rng(1).uniform(-0.7, 0.7, (40, 2)).astype(np.float32)
    acted = np.full((40, 1), 0.3, dtype=np.float32)
    exact = world.law(state.astype(float), np.arange(40), acted)
    np.testing.assert_allclose(sim.predict(np.arange(40), state, acted), exact, atol=1e-6)
    # Another action was never seen: held near what was, not extrapolated.
    other = sim.predict(np.arange(40), state, -acted)
    assert np.abs(other - exact).max() < 1e-5


@pytest.mark.slow
def test_units_do_not_matter() -> None:
    world = LowRankWorld(3, agents=40)
    data = world.record(40)
    unit = np.array([1e6, 1e-3], dtype=np.float32)
    sim = fit(changed(data, lambda x: x * unit), world.task)
    rng = np.random.default_rng(1)
    state = rng.uniform(-0.7, 0.7, (40, 2)).astype(np.float32)
    action = rng.integers(3, size=40)
    exact = world.law(state.astype(float), np.arange(40), action)
    found = sim.predict(np.arange(40), state * unit, action) / unit
    np.testing.assert_allclose(found, exact, atol=2e-6)


@pytest.mark.slow
def test_heavy_tails_are_survived() -> None:
    world = LowRankWorld(2, agents=40)
    data = world.record(40)
    noise = 1e-3 * np.random.default_rng(0).standard_t(1.2, size=data.next_obs.shape)
    data = dataclasses.replace(data, next_obs=(data.next_obs + noise).astype(np.float32))
    error = open_loop(fit(data, world.task), world.law, world.task, np.arange(40))
    assert np.median(error) < 5e-2
    assert np.isfinite(error).all()


# -- walls and limits ------------------------------------------------------------------------------


def rail(s: NDArray[Any], a: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    """A car with a speed limit, between an inelastic wall at -1.2 and an end at 1."""
    v = np.clip(s[:, 1] + 0.06 * (u - 1) - 0.05 * PULL[a] * s[:, 0], -0.5, 0.5)
    x = np.clip(s[:, 0] + 0.4 * v, -1.2, 1.0)
    return np.stack([x, np.where((x <= -1.2) & (v < 0), 0.0, v)], 1)


@pytest.mark.slow
def test_wall_and_speed_limit_are_learned_exactly() -> None:
    task = box_task([-1.2, -0.5], [1.0, 0.5])
    data = record(rail, task, 30, 100, restart=50)
    at = (data.next_obs == task.observation_space.low).sum(0)
    assert (at > 10).all()
    sim = fit(data, task)
    assert open_loop(sim, rail, task, np.arange(30), steps=50).max() < 1e-6
    without = fit(data, task, skip_clipped=False)
    assert open_loop(without, rail, task, np.arange(30), steps=50).max() > 1e-3
