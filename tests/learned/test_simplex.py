"""Least squares over convex weights."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned.simplex import simplex_least_squares


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_the_best_of_the_simplex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(3, 50)) * [[1.0], [1.5], [4.0]] + rng.normal(size=50)
    gram = left @ left.T
    weights = simplex_least_squares(gram)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    others = rng.dirichlet(np.ones(3), 500)
    least = np.einsum("ni,ij,nj->n", others, gram, others).min()
    assert weights @ gram @ weights <= least * (1 + 1e-3)
