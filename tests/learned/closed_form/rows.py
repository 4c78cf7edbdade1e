"""Rows of random numbers, factors for them, and their features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.learned.closed_form.alternation import LowRankFit, first_factors
from persim_gym.learned.closed_form.basis import Monomials
from persim_gym.learned.closed_form.factors import Factors

BASIS = Monomials.up_to(2, 3)


def some_rows(
    lengths: list[int], choices: int = 2, d: int = 2, seed: int = 0, shuffle: bool = False
) -> Rows:
    """Transitions of agents of these lengths, random numbers."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(len(lengths)), lengths)
    if shuffle:
        rng.shuffle(agent)
    t = len(agent)
    return Rows(
        torch.as_tensor(agent),
        torch.as_tensor(rng.normal(size=(t, 3))),
        torch.as_tensor(rng.integers(choices, size=t)),
        torch.as_tensor(rng.normal(size=(t, d))),
        len(lengths),
        choices,
    )


def features(values: torch.Tensor) -> torch.Tensor:
    return BASIS(values.mT)


def some_factors(rows: Rows, rank: int = 3, seed: int = 1, members: int = 1) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    found = first_factors(members, rows.num_agents, rank, generator, rows.target)
    root = 0.3 * torch.randn(
        members, rows.num_agents, rank - 1, rank - 1, generator=generator, dtype=torch.float64
    )
    mean = found.mean.clone()
    mean[..., 1:] *= 10
    return Factors(mean, root @ root.mT)


def predictions(fit: LowRankFit, rows: Rows, member: int = 0) -> Tensor:
    phi = features(rows.inputs)
    weights = fit.weights[member][rows.choice]  # [T, r, P, D]
    return torch.einsum("pt,tr,trpd->td", phi, fit.factors.mean[member, rows.agent], weights)
