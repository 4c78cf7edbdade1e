"""The gradient of CaDM's loss beside the automatic one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from persim_gym.baselines.context.gradients import LossGradient
from persim_gym.baselines.context.network import ContextNetwork, loss
from tests.baselines.context_worlds import SHAPE, batch_of


@pytest.mark.parametrize("tempering", [0.0, 1.0])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"probabilistic": False},
        {"activation": "relu"},
        {"backward": False},
        {"context": 0, "backward": False},
    ],
)
def test_the_gradient_written_by_hand_is_the_automatic_one(
    changed: dict[str, Any], tempering: float
) -> None:
    shape = dataclasses.replace(SHAPE, **changed)
    vector = ContextNetwork.initial(shape, torch.Generator().manual_seed(1)).double()
    vector += 0.1 * torch.randn(len(vector), generator=torch.Generator().manual_seed(2))
    slope = LossGradient(shape, vector, 0.5, tempering)
    for seed in (0, 1):  # nothing is left of a batch before
        batch = batch_of(shape, rows=4, seed=seed)
        leaf = vector.clone().requires_grad_()
        expected = loss(ContextNetwork.views(shape, leaf), batch, 0.5, tempering)
        (gradient,) = torch.autograd.grad(expected.sum(), leaf)
        value, found = slope(batch)
        assert torch.allclose(value, expected.detach(), rtol=1e-12)
        assert torch.allclose(found, gradient, rtol=1e-9, atol=1e-12)
