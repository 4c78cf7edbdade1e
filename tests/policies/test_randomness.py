from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
import torch

from persim_gym.policies.randomness import global_randomness_kept


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
