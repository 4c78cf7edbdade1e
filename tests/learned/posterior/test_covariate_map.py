"""Agents by their covariates alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from tests.learned.posterior.worlds import GaussianWorld, error
from tests.learned.worlds import transitions


@pytest.fixture(scope="module")
def mapped() -> tuple[GaussianWorld, PerSim, NDArray[np.float64]]:
    """Shares are smooth functions of two covariates."""
    world = GaussianWorld(noise=1e-6)
    covariates = np.random.default_rng(8).uniform([1, 10], [3, 40], size=(40, 2))
    shares = np.repeat(_shares(covariates), 20, axis=0)
    obs, actions, following = world.rows(shares, 0)
    data = transitions(np.repeat(np.arange(40), 20), obs, actions, following)
    return world, world.fit(data), covariates


def _shares(covariates: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = covariates[:, 0] - 2, (covariates[:, 1] - 25) / 15
    one = np.ones(len(a))
    return np.stack([one, 1.5 * a + 0.5 * a * b, np.sin(2 * b), one], axis=1)


@pytest.mark.slow
def test_covariates_alone_make_an_agent(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    world, fitted, covariates = mapped
    sim = fitted.to("cpu")
    covariates.flags.writeable = False  # as a population's are
    mapping = sim.map_covariates(covariates)
    assert mapping.r2.min() > 0.99
    new = np.array([[1.4, 31.0], [2.7, 15.0]])
    assert mapping.factors(new).shape == (3, 2, 3)
    found = sim.adapt_covariates(mapping, new, names=["Ada", "Eve"])
    assert found == [40, 41]
    unknown = sim.adapt()
    for place, index in enumerate(found):
        np.testing.assert_allclose(
            sim.posterior(index).mean, mapping.factors(new)[:, place], atol=1e-9
        )
        rows = world.rows(np.repeat(_shares(new[place : place + 1]), 50, axis=0), 4)
        alone = error(sim, index, rows)
        assert alone < 0.05 * error(sim, unknown, rows)
        known = sim.update(index, *rows)  # transitions are added to what covariates say
        assert known.count == 50
        assert error(sim, index, rows) < max(0.5 * alone, 2e-6)
    assert sim.posterior(unknown).deviation - sim.posterior(found[0]).deviation > 0


def test_what_covariates_say_is_saved(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]], tmp_path: Path
) -> None:
    world, fitted, covariates = mapped
    sim = fitted.to("cpu")
    (agent,) = sim.adapt_covariates(sim.map_covariates(covariates), [[1.4, 31.0]])
    sim.save(tmp_path)
    back = PerSim.load(tmp_path, task=sim.task)
    for other in (sim, back):
        other.update(agent, *world.new_agent(1))
    np.testing.assert_array_equal(back.posterior(agent).mean, sim.posterior(agent).mean)
    assert (
        back.posterior(agent).deviation < back.new_posterior().update(*world.new_agent(1)).deviation
    )


def test_a_map_knows_when_covariates_say_nothing(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    _, fitted, _ = mapped
    mapping = fitted.map_covariates(np.random.default_rng(1).normal(size=(40, 2)))
    assert mapping.r2.max() < 0.3
    sim = fitted.to("cpu")
    (agent,) = sim.adapt_covariates(mapping, [[0.0, 0.0]])
    assert sim.posterior(agent).deviation > 0.8


def test_some_covariates_may_be_unknown(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    _, sim, covariates = mapped
    partly = covariates.copy()
    partly[::2] = np.nan
    mapping = sim.map_covariates(partly)
    assert len(mapping.known) == 20
    whole = sim.map_covariates(covariates)
    np.testing.assert_allclose(
        mapping.factors([[2.0, 20.0]]), whole.factors([[2.0, 20.0]]), atol=0.1
    )


def test_refused_covariates(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]], sim: PerSim
) -> None:
    _, fitted, covariates = mapped
    mapping = fitted.map_covariates(covariates)
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        mapping.factors([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        mapping.factors([[1.0, np.nan]])
    with pytest.raises(ValueError, match="a row for each agent"):
        fitted.map_covariates(covariates[0])
    with pytest.raises(ValueError, match="at least 5"):
        fitted.map_covariates(covariates[:4])
    with pytest.raises(ValueError, match="one for each of 1"):
        fitted.to("cpu").adapt_covariates(mapping, [[2.0, 20.0]], names=["a", "b"])
    other = exact_with_members(sim)
    with pytest.raises(ValueError, match="another simulator"):
        other.adapt_covariates(mapping, [[2.0, 20.0]])


def exact_with_members(sim: PerSim) -> PerSim:
    prior = replace(sim.prior, root=2 * sim.prior.root)
    knowledge = replace(sim.knowledge, prior=prior)
    return PerSim(sim.ensemble, sim.task, sim.experience, sim.card, knowledge)
