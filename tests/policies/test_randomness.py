from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
import torch

from persim_gym.policies.randomness import global_randomness_kept, global_seed


def drawn() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(1))]  # noqa: NPY002


@pytest.mark.parametrize("fails", [False, True])
def test_global_generators_are_put_back(fails: bool) -> None:
    with global_randomness_kept():
        expected = drawn()
    outcome = pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext()
    with outcome, global_randomness_kept():
        torch.manual_seed(3)
        drawn()
        if fails:
            raise ZeroDivisionError
    assert drawn() == expected


def test_a_global_seed_is_one_and_is_put_back() -> None:
    with global_randomness_kept():
        expected = drawn()
    with global_seed(3):
        first = torch.rand(2)
    with global_seed(3):
        assert torch.equal(torch.rand(2), first)
    with global_seed(4):
        assert not torch.equal(torch.rand(2), first)
    assert drawn() == expected
