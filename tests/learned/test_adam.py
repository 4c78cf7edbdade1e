"""Adam is torch's."""

from __future__ import annotations

import torch

from persim_gym.learned.adam import Adam


def test_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    ours, theirs = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    adam, reference = Adam(ours), torch.optim.Adam([theirs], lr=0.01)
    for gradient in gradients:
        adam.step(gradient, 0.01)
        theirs.grad = gradient
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
