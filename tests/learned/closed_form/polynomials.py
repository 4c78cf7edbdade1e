"""Ensembles of polynomials with random weights, of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.closed_form.basis import Inputs, Monomials
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble

MEMBERS, AGENTS, RANK, D, A = 3, 6, 2, 2, 2


def some(
    discrete: bool = True,
    lag: int = 1,
    angles: tuple[int, ...] = (),
    effects: bool = False,
    drop: float = 0.0,
    seed: int = 0,
) -> PolynomialEnsemble:
    """Random weights, of some of the monomials, with units that are neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    values = rng.normal([0.2, 3.0] * lag + [0.1] * (0 if discrete else A), 1.0, size=(
        80, D * lag + (0 if discrete else A)
    ))  # fmt: skip
    inputs = Inputs.of(values, angles)
    basis = Monomials.up_to(3, inputs.size, range(len(inputs.centre), inputs.size))
    basis, _ = basis.subset(rng.random(basis.size) >= drop)
    weights = 0.02 * rng.normal(size=(MEMBERS, 3 if discrete else 1, RANK, basis.size, D))
    factors = rng.normal(size=(MEMBERS, AGENTS, RANK))
    bounds = None
    if effects:
        effect = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)
        bounds = BoundEffects(
            torch.tensor([0]), torch.tensor([1.0]).double(), torch.tensor([0.4]).double(), effect
        )
    high = torch.tensor([0.4, 9.0], dtype=torch.float64)
    return PolynomialEnsemble(
        inputs, basis, torch.as_tensor(weights), torch.as_tensor(factors),
        torch.tensor([0.5, 2.0], dtype=torch.float64), -high, high,
        discrete=discrete, lag=lag, effects=bounds,
    )  # fmt: skip


KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False},
    {"lag": 2, "angles": (0, 2)},
    {"discrete": False, "lag": 2, "angles": (1, 3)},
    {"effects": True},
    {"drop": 0.6},
]
