"""Monomials in the same memory are the basis's own, in the order in which they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.closed_form.basis import Inputs, Monomials
from persim_gym.learned.closed_form.evaluation import Evaluation
from tests.learned.closed_form.polynomials import KINDS, some


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_monomials_again_and_again(kind: dict[str, Any]) -> None:
    ensemble = some(**kind)
    inputs, monomials = ensemble.inputs, ensemble.monomials
    evaluation = Evaluation(inputs, monomials, 2, 9)
    generator = torch.Generator().manual_seed(0)
    for size in (1.0, 100.0):  # the second far out, where inputs are held
        shape = 2, len(inputs.centre), 9
        values = size * torch.randn(shape, generator=generator, dtype=torch.float64)
        expected = monomials(inputs(values.mT))[:, monomials.order.order]
        torch.testing.assert_close(evaluation(values), expected, rtol=1e-12, atol=1e-12)


def test_a_chain_of_powers_is_unrolled_with_one_member_as_well() -> None:
    z = torch.linspace(-1.0, 1.0, 9)
    inputs = Inputs(*(torch.tensor([value]) for value in (0.0, 1.0, -9.0, 9.0)))
    powers = Evaluation(inputs, Monomials(np.arange(6)[:, None]), 1, 9)(z[None, None])
    torch.testing.assert_close(powers[0], z ** torch.arange(6)[:, None])
