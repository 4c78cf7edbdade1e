"""A basis without collinear terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned.regression.orthonormal import ProductBasis, orthonormal


def pair(rng: np.random.Generator, n: int) -> NDArray[Any]:
    angle = rng.uniform(-np.pi, np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize(
    ("make", "terms"),
    [
        (lambda rng, n: pair(rng, n), [1, 3, 5, 7]),  # cosines and sines of one to three angles
        (lambda rng, n: np.repeat(rng.normal(size=(n, 1)), 2, 1), [1, 2, 3, 4]),
        (lambda rng, n: np.eye(3)[rng.integers(3, size=n)][:, 1:], [1, 3, 3, 3]),
        (lambda rng, n: np.ones((n, 1)), [1, 1, 1, 1]),
        (lambda rng, n: np.stack([rng.normal(size=n), np.zeros(n)], 1), [1, 2, 3, 4]),
    ],
    ids=["circle", "copy", "indicators", "constant", "constant beside"],
)
def test_no_degree_is_collinear(make: Any, terms: list[int]) -> None:
    z = torch.as_tensor(make(np.random.default_rng(0), 500))
    basis, turn = orthonormal(ProductBasis.up_to(3, z, 0.1), z)
    assert [int((basis.degrees <= d).sum()) for d in range(4)] == terms
    phi = basis(z) @ turn
    gram = phi.mT @ phi / len(z)
    torch.testing.assert_close(gram, torch.eye(len(basis)).double(), atol=1e-6, rtol=0)
    single = (basis.to("cpu", torch.float32)(z.float()) @ turn.float()).double()
    torch.testing.assert_close(single, phi, atol=1e-3, rtol=0)


@pytest.mark.parametrize("degree", [-1, 3])
def test_a_degree_that_inputs_do_not_have_is_refused(degree: int) -> None:
    """It would be read as another input's."""
    basis = ProductBasis.up_to(2, torch.randn(50, 2, dtype=torch.float64), 0.1)
    terms = basis.terms.clone()
    terms[3, 0] = degree
    with pytest.raises(ValueError, match="terms of degrees from 0 to 2"):
        replace(basis, terms=terms)
