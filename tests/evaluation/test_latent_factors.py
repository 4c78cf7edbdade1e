from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.latent_factors import probe_covariates, rank_correlation


def world(n=120):
    rng = np.random.default_rng(3)
    covariates = rng.uniform([1.0, 0.1], [2.0, 0.9], (n, 2))
    a, b = covariates.T
    known = np.stack([a / b, 1 / b, a], axis=1)
    # Members know the factors up to an invertible map of their own.
    maps = rng.normal(size=(2, 3, 3))
    return covariates, np.stack([known @ m for m in maps]).astype(np.float32)


def test_what_the_factors_know_nonlinearly_is_found():
    covariates, factors = world()
    probe = probe_covariates(factors, covariates, ("a", "b"))
    assert (probe.r2 > 0.99).all()
    np.testing.assert_array_equal(probe.true, covariates)
    residual = ((probe.predicted - covariates) ** 2).sum(0)
    total = ((covariates - covariates.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(probe.r2, 1 - residual / total)


def test_factors_that_know_nothing_say_nothing():
    covariates, _ = world()
    noise = np.random.default_rng(0).normal(size=(2, 120, 3))
    assert (probe_covariates(noise, covariates, ("a", "b")).r2 < 0.15).all()


def test_an_agents_own_covariate_is_not_used_to_predict_it():
    covariates, factors = world()
    # One agent's factors are like another's: only its own covariate could give it away.
    factors[:, 7] = factors[:, 8]
    covariates[7] = [50.0, 50.0]
    probe = probe_covariates(factors, covariates, ("a", "b"))
    assert (np.abs(probe.predicted[7] - 50) > 10).all()


def test_components_are_those_of_the_standardised_factors():
    covariates, factors = world()
    probe = probe_covariates(factors, covariates, ("a", "b"))
    flat = np.concatenate(list(factors), axis=1).astype(np.float64)
    flat = (flat - flat.mean(0)) / flat.std(0)
    values = np.sort(np.linalg.eigvalsh(np.cov(flat.T, bias=True)))[::-1]
    np.testing.assert_allclose(probe.explained, values[:2] / values.sum(), rtol=1e-5)
    np.testing.assert_allclose(probe.components.var(axis=0), values[:2], rtol=1e-5)
    json = probe.to_json()
    assert json["r2"] == {"a": probe.r2[0], "b": probe.r2[1]}


def test_rank_correlation_is_that_of_ranks():
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -(values**3)) == pytest.approx(-1)
    # 1 - 6 sum d^2 / (n (n^2 - 1)), with d = (0, 0, 0, 1, -1).
    assert rank_correlation(values, np.array([3, 1, 2, 4, 5])) == pytest.approx(0.9)
    # Two values that are equal share rank 1.5: ranks (1.5, 1.5, 3) beside (1, 2, 3).
    assert rank_correlation(np.array([1, 1, 2]), np.array([1, 2, 3])) == pytest.approx(0.75**0.5)
    assert np.isnan(rank_correlation(values, np.ones(5)))


def test_a_bent_probe_keeps_its_rank_correlation():
    covariates, factors = world()
    probe = probe_covariates(factors, covariates, ("a", "b"))
    assert (probe.rank_correlation > 0.99).all()
    assert probe.to_json()["rank_correlation"]["b"] == probe.rank_correlation[1]
    # Held-out predictions bent monotonously: their order is as good, their R2 is not.
    bent = dataclasses.replace(probe, predicted=np.exp(5 * probe.predicted))
    np.testing.assert_allclose(bent.rank_correlation, probe.rank_correlation)


def test_a_constant_factor_changes_nothing():
    covariates, factors = world()
    constant = np.concatenate([np.ones_like(factors[..., :1]), factors], axis=2)
    with_it = probe_covariates(constant, covariates, ("a", "b"))
    without = probe_covariates(factors, covariates, ("a", "b"))
    np.testing.assert_allclose(with_it.predicted, without.predicted, atol=1e-9)


def test_the_seed_decides_the_folds():
    covariates, factors = world()
    names = ("a", "b")
    first, again, other = (
        probe_covariates(factors, covariates, names, seed=seed).predicted for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    few = probe_covariates(factors, covariates, names, folds=2).predicted
    assert (first != few).any()


def test_constant_covariates_have_no_r2():
    _, factors = world()
    probe = probe_covariates(factors, np.ones((120, 1)), ("a",))
    assert np.isnan(probe.r2).all()


def test_bad_shapes_are_refused():
    covariates, factors = world()
    with pytest.raises(ValueError, match=r"shape \(120, 1\)"):
        probe_covariates(factors, covariates, ("a",))
    with pytest.raises(ValueError, match="at least 10 agents, got 9"):
        probe_covariates(factors[:, :9], covariates[:9], ("a", "b"))
