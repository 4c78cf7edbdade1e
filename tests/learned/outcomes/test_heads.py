"""Each kind of head is the function that its parameters say."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from persim_gym.learned.outcomes import heads
from persim_gym.learned.outcomes.heads import (
    constant,
    limits_head,
    logistic_head,
    monomials,
    network_head,
    ridge_heads,
    terms_of,
)

X = torch.as_tensor(np.random.default_rng(0).uniform(-1.0, 1.0, (300, 2)))


def test_monomials_are_all_of_a_degree() -> None:
    terms = terms_of(2, 2)
    assert terms is not None
    x, y = X.T
    expected = torch.stack([x, y, x * x, x * y, y * y], 1)
    torch.testing.assert_close(monomials(X, terms), expected)
    assert terms_of(200, 3) is None


def test_a_constant_is_one_anywhere() -> None:
    assert constant(2.5)(X.reshape(3, 100, 2)).unique().tolist() == [2.5]


def test_a_polynomial_is_found_again() -> None:
    values = 1.0 + 2.0 * X[:, 0] * X[:, 1]
    terms = terms_of(2, 2)
    assert terms is not None
    free, held = ridge_heads(X, values, terms, [1e-12, 10.0])
    torch.testing.assert_close(free(X), values, atol=1e-6, rtol=0)
    assert held(X).std() < 0.5 * values.std()


def test_yes_and_no_are_parted_where_they_part() -> None:
    terms = terms_of(2, 1)
    assert terms is not None
    beyond = X[:, 0] > 0.3
    assert ((logistic_head(X, beyond, terms)(X) > 0) == beyond).double().mean() > 0.98


def test_limits_are_of_the_coordinates_that_have_some() -> None:
    head = limits_head(X, X[:, 1] < -0.5)
    assert head is not None
    assert torch.isinf(head.tensors["high"]).all()
    assert float(head.tensors["low"][1]) == pytest.approx(-0.5, abs=0.02)
    assert ((head(X) > 0) == (X[:, 1] < -0.5)).all()
    assert limits_head(X, X.square().sum(1) < 0.1) is None


def test_a_network_is_its_seed_and_fits_a_bend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "STEPS", 200)
    values = X[:, 0].abs()
    one, same, other = (network_head(X, values, False, seed) for seed in (0, 0, 1))
    assert torch.equal(one(X), same(X))
    assert not torch.equal(one(X), other(X))
    assert (one(X) - values).square().mean() < 0.1 * values.var()


def test_a_head_keeps_to_the_precision_of_its_rows() -> None:
    head = constant(0.1)
    assert head(X.float()).dtype == torch.float32
    assert head(X).dtype == torch.float64


@pytest.mark.slow
def test_rewards_and_ends_load_no_compiler() -> None:
    """It would take more than a second of every fit of a user's own data."""
    code = """
import sys
import torch
from gymnasium.spaces import Discrete
from persim_gym.learned.outcomes.data_task import features
from persim_gym.learned.outcomes.heads import logistic_head, terms_of
x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
head = logistic_head(x, x[:, 0] > 0.3, terms_of(1, 1))
assert ((head(x) > 0) == (x[:, 0] > 0.3)).double().mean() > 0.95
assert features(x, torch.arange(50) % 2, x, Discrete(2)).shape == (50, 3)
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
