"""Products of weights and many rows."""

from __future__ import annotations

import numpy as np

from persim_gym.learned.products import ALONE, product


def test_products_by_columns() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 40, 60)).astype(np.float32)
    x = rng.normal(size=(2, 60, 2 * ALONE // 2400 + 7)).astype(np.float32)
    np.testing.assert_allclose(product(weight, x), weight @ x, rtol=1e-4, atol=1e-4)
