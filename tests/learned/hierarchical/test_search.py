"""Which degree, and of which agents it is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.hierarchical.fit import fit_hierarchical
from persim_gym.learned.regression.population import Moments, Population
from tests.learned.hierarchical.quadratics import World, error


def test_heavy_tails_are_found_and_do_no_harm() -> None:
    world = World(30)
    z, y, agent = world.record(50)
    y = y + 0.05 * np.random.default_rng(0).standard_t(1.5, size=y.shape)
    chosen, gaussian = (fit_hierarchical(z, y, agent, 30, tails=t) for t in ("auto", None))
    assert chosen.tails == 4.0
    assert np.median(error(chosen, world)) < 0.7 * np.median(error(gaussian, world))
    assert fit_hierarchical(*world.record(50, noise=0.05), 30).tails is None


def test_more_agents_than_the_population_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from persim_gym.learned.hierarchical import fit as hierarchical
    from persim_gym.learned.hierarchical import search as hierarchical_search

    monkeypatch.setattr(hierarchical_search, "FEWEST", 20)
    monkeypatch.setattr(hierarchical_search, "WORK", {"default": 1e3})
    monkeypatch.setattr(hierarchical, "AGENTS_AT_ONCE", 7)
    world = World(50)
    z, y, agent = world.record(30)
    order = np.random.default_rng(0).permutation(len(agent))  # in any order
    with pytest.raises(ValueError, match="too many: choose a lower degree"):
        fit_hierarchical(z, y, agent, 50, degree=2)
    monkeypatch.setattr(hierarchical_search, "WORK", {"default": 1e4})
    fit = fit_hierarchical(z[order], y[order], agent[order], 52, degree=2)
    assert error(fit, world).max() < 1e-3
    assert bool(torch.isfinite(fit.model.factors).all())
    torch.testing.assert_close(  # of an agent without transitions nothing is known
        fit.model.factors[:, 50:].mean(0), fit.model.prior_mean.expand(2, -1), atol=1e-6, rtol=1e-6
    )


def test_rounds_that_take_more_than_the_effort_allows_are_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from persim_gym.learned.hierarchical import search as hierarchical_search

    seen: list[int] = []
    estimate = hierarchical_search.estimate

    def watched(stats: Moments, start: Population, *, rounds: int) -> Population:
        seen.append(rounds)
        return estimate(stats, start, rounds=rounds)

    monkeypatch.setattr(hierarchical_search, "estimate", watched)
    record = World(20).record(30)
    assert not any("rounds" in note for note in fit_hierarchical(*record, 20, tails=None).notes)
    assert {*seen} == {hierarchical_search.ROUNDS}
    seen.clear()
    monkeypatch.setattr(hierarchical_search, "WORK", {"default": 1.0})
    fit = fit_hierarchical(*record, 20, tails=None)  # the first degree is tried all the same
    assert {*seen} == {hierarchical_search.LEAST_ROUNDS}
    assert sum("of 60 rounds" in note for note in fit.notes) == 1


def test_noise_does_not_hide_a_degree_that_all_agents_gain_from() -> None:
    """A cubic part takes away a hundredth of an error that is noise, from nearly all of them."""
    rng = np.random.default_rng(0)
    agents, steps = 80, 100
    agent = np.repeat(np.arange(agents), steps)
    z = rng.normal(size=(len(agent), 1))
    slope = rng.uniform(-1, -0.5, agents)[agent]
    for cubic, degree in ((0.03, 3), (0.0, 1)):
        change = slope * z[:, 0] - cubic * z[:, 0] ** 3 + 0.3 * rng.normal(size=len(z))
        fit = fit_hierarchical(z, change[:, None], agent, agents)
        assert fit.degree == degree
        gains = [trial["error"] / fit.trials[0]["error"] for trial in fit.trials]
        assert min(gains) > 0.9, "a tenth would have been enough before"


@pytest.mark.parametrize("steps", [7, 12])
def test_a_moment_that_all_agents_share_makes_no_degree(steps: int) -> None:
    """The last step is another one for all: by it alone, of short records, a curve is better."""
    rng = np.random.default_rng(0)
    agents = 50
    slope = rng.uniform(0.05, 0.15, agents)
    z = np.cumsum(np.full((agents, steps), 1.0), axis=1) / steps + 0.05 * rng.normal(
        size=(agents, steps)
    )
    y = slope[:, None] * z + 0.01 * rng.normal(size=z.shape)
    y[:, -1] -= 0.05
    agent = np.repeat(np.arange(agents), steps)
    found = fit_hierarchical(z.reshape(-1, 1), y.reshape(-1, 1), agent, agents)
    assert found.degree == 1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_records_of_a_few_rows_are_fitted_by_a_low_degree(steps: int) -> None:
    """Nothing was held out of agents with less than four transitions: the highest degree won."""
    rng = np.random.default_rng(0)
    agents = 150
    agent = np.repeat(np.arange(agents), steps)
    z = rng.normal(size=(len(agent), 2))
    change = rng.uniform(-1, -0.5, agents)[agent] * z[:, 0] + 0.3 * rng.normal(size=len(z))
    fit = fit_hierarchical(z, change[:, None], agent, agents)
    assert fit.degree == 1
    assert bool(fit.trials) == (steps > 1)
