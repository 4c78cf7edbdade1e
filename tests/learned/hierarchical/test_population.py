"""What is learned of a population, as a prior of its agents."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.learned.hierarchical.fit import fit_hierarchical
from tests.learned.hierarchical.test_fit import World


def test_the_noise_is_estimated() -> None:
    world = World(40)
    fit = fit_hierarchical(*world.record(60, noise=0.1), 40)
    np.testing.assert_allclose(fit.model.noise.sqrt(), 0.1, rtol=0.1)


def test_the_population_is_a_prior_for_new_agents() -> None:
    world = World(80)
    model = fit_hierarchical(*world.record(30), 80, degree=2, members=1).model
    coefficients = model.factors[0]
    centred = coefficients - coefficients.mean(0)
    torch.testing.assert_close(model.prior_mean, coefficients.mean(0), atol=1e-4, rtol=1e-3)
    covariance = model.prior_root @ model.prior_root.T
    own = centred.T @ centred / 80
    p = model.rank // 2
    torch.testing.assert_close(covariance[:p, :p], own[:p, :p], atol=1e-3, rtol=1e-2)
