"""Arithmetic is the same on arrays and on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.outcomes.arithmetic import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    SIGNS,
    all_true,
    any_true,
    as_number,
    as_truth,
    joined,
    where,
)

X, Y, Z = (np.random.default_rng(k).uniform(0.5, 2.0, 8) for k in range(3))


def same(function: Any, *parts: Any) -> None:
    of_arrays = as_number(function(*parts))
    of_tensors = as_number(function(*(torch.as_tensor(part) for part in parts)))
    np.testing.assert_allclose(np.asarray(of_tensors), np.asarray(of_arrays), rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    least, _, function = FUNCTIONS[name]
    first = X > Y if name == "where" else X
    same(function, *(first, Y, Z)[:least])


@pytest.mark.parametrize("operation", [*ARITHMETIC.values(), *COMPARISONS.values()])
def test_operations_of_two(operation: Any) -> None:
    same(operation, X, Y)


@pytest.mark.parametrize("operation", SIGNS.values())
def test_operations_of_one(operation: Any) -> None:
    same(operation, X)


def test_what_is_true() -> None:
    assert as_truth(np.array([0.0, 2.0, -1.0])).tolist() == [False, True, True]
    assert as_number(np.array([True, False])).tolist() == [1.0, 0.0]
    yes, no = X > 0, X > 9
    assert all_true(yes, no).tolist() == no.tolist()
    assert any_true(yes, no).tolist() == yes.tolist()
    assert where(yes, X, Y).tolist() == X.tolist()
    assert where(True, torch.as_tensor(X), 0.0).tolist() == X.tolist()


def test_a_power_of_integers_is_a_number() -> None:
    power = next(f for node, f in ARITHMETIC.items() if node.__name__ == "Pow")
    assert float(power(9, 99)) == pytest.approx(9.0**99)


def test_constants_are_joined_at_once_and_have_to_be_finite() -> None:
    add = next(f for node, f in ARITHMETIC.items() if node.__name__ == "Add")
    assert joined(add, [1.0, 2.0]) == 3.0
    later = joined(add, [1.0, lambda values: values[False, "x"]])
    assert callable(later)
    assert later({(False, "x"): X}).tolist() == (1.0 + X).tolist()
    with pytest.raises(ValueError, match="no finite number"):
        joined(add, [np.inf, 1.0])
