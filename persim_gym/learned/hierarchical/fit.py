"""Hierarchical polynomial regression: every agent has coefficients of its own.

The change of a coordinate is a polynomial of state and action, whose coefficients are an agent's
own, drawn from a Gaussian population (:mod:`~persim_gym.learned.regression.population`). That is
the low-rank model without a limit of the rank: nothing has to be shared by all agents but how
likely a coefficient is. An agent with many transitions has its own regression, one with few is what
the population makes of them. All in closed form; costs grow linearly with the agents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persim_gym import checks
from persim_gym.learned.hierarchical.model import HierarchicalModel
from persim_gym.learned.hierarchical.search import LAW, WORK, Samples, Search, remainder
from persim_gym.learned.regression.extrapolation import CLOSE, FAR, extrapolates, outermost
from persim_gym.learned.regression.orthonormal import ProductBasis
from persim_gym.learned.regression.population import (
    Moments,
    Population,
    covariance_root,
    means,
    moments,
    posterior,
)

#: Widths of the recorded changes by which a change may leave their range.
CHANGE = 1.0
#: Agents whose posteriors are in memory together.
AGENTS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class HierarchicalFit:
    """What a fit has found.

    Attributes:
        model: The members, in double precision; their mean is the posterior's.
        degree: Degree of the basis.
        tails: Degrees of freedom of the noise, where heavy tails were found.
        trials: Degree, terms and held-out error of what was tried, as plain types.
        notes: What was not tried, and why.
    """

    model: HierarchicalModel
    degree: int
    tails: float | None
    trials: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def fit_hierarchical(
    features: Any,
    change: Any,
    agent: Any,
    num_agents: int,
    *,
    degree: int | None = None,
    tails: float | str | None = "auto",
    members: int = 5,
    effort: str = "default",
    seed: int = 0,
    present: Sequence[int] | None = None,
) -> HierarchicalFit:
    """Fit every agent's polynomial under the population's prior.

    Args:
        features: Standardised states and actions ``[T, q]``, discrete actions as indicators
            without the first; an agent's transitions in order of time.
        change: Scaled changes ``[T, c]``.
        agent: ``[T]``.
        num_agents: ``N``; of one without transitions the population's mean is taken.
        degree: Degree of the polynomials; by default the one that predicts the last quarter of
            every agent's transitions best.
        tails: Degrees of freedom of Student's t noise, ``None`` for a Gaussian, ``"auto"`` for
            what predicts better where what is left has heavy tails.
        members: Draws from the posterior ``m``; a single one is its mean.
        effort: ``"quick"``, ``"default"`` or ``"thorough"``: how large a basis may be, and
            how long its population is estimated.
        seed: Seed of the draws.
        present: Features that are held near the record unless the law goes on; all by default.

    Raises:
        ValueError: If the arguments do not fit together or there are too few transitions.
        FloatingPointError: If the data are beyond double precision.
    """
    data = Samples.of(features, change, agent, num_agents)
    checks.one_of("effort", effort, WORK)
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}")
    rng = np.random.default_rng([seed, 5])
    search = Search(data, effort, degree, rng)
    chosen, heavy = search.choose(tails)
    basis, turn = search.basis.first(chosen), search.turn(chosen)
    prior, weight = search.population(chosen, heavy, data)
    law = float(prior.noise.max()) <= LAW
    far = law or _goes_on(data, search, (chosen, heavy), (prior, weight), present)
    basis = basis.held(FAR if far else CLOSE, data.features)
    factors = _drawn(data, basis, turn, prior, weight, members, rng)
    low, high = data.change.amin(0), data.change.amax(0)
    reach = CHANGE * (high - low)
    root = torch.block_diag(*(turn @ covariance_root(prior.covariance)).unbind(0))
    mean = (prior.mean @ turn.mT).flatten()
    model = HierarchicalModel(basis, factors, mean, root, prior.noise, low - reach, high + reach)
    return HierarchicalFit(model, chosen, heavy, tuple(search.trials), tuple(search.notes))


def _goes_on(
    data: Samples,
    search: Search,
    chosen: tuple[int, float | None],
    found: tuple[Population, Tensor | None],
    present: Sequence[int] | None,
) -> bool:
    """Whether a fit is better not held close to what it was fitted on; see ``extrapolation``.

    Args:
        data: All transitions.
        search: Where the fit is from.
        chosen: Degree and tails.
        found: The prior, and the weights of the transitions.
        present: Features that may leave the record; all by default.
    """
    columns = list(range(data.features.shape[1])) if present is None else list(present)
    split = outermost(data.features[:, columns]) if columns else None
    if split is None:
        return False
    learners = search.learners(data, search.terms(chosen[0]))
    own = torch.isin(data.agent, learners)
    basis, turn = search.basis.first(chosen[0]), search.turn(chosen[0])
    out = data.select(split[1] & own).of_agents(learners)

    def coefficients(part: Samples, prior: Population, weight: Tensor | None) -> Tensor:
        part = part.of_agents(learners)
        phi = basis(part.features) @ turn
        stats = moments(phi, part.change, part.agent, part.num_agents, weight)
        return means(stats, prior)

    def left(at: ProductBasis, mean: Tensor) -> Tensor:
        return remainder(out, at(out.features) @ turn, mean)

    inside = data.select(split[0] & own)
    mean = coefficients(inside, *search.population(*chosen, inside))
    held, free = (left(basis.held(m, inside.features), mean) for m in (CLOSE, FAR))
    weight = None if found[1] is None else found[1][own]
    known = left(basis, coefficients(data.select(own), found[0], weight))
    return extrapolates(held, free, known, out.agent)


def _drawn(
    data: Samples,
    basis: ProductBasis,
    turn: Tensor,
    prior: Population,
    weight: Tensor | None,
    members: int,
    rng: np.random.Generator,
) -> Tensor:
    """Each member's draw from the agents' posteriors, their mean kept: ``[m, N, c * P]``."""
    parts = []
    order = torch.argsort(data.agent, stable=True)
    ends = torch.bincount(data.agent, minlength=data.num_agents).cumsum(0).tolist()
    for first in range(0, data.num_agents, AGENTS_AT_ONCE):
        stop = min(first + AGENTS_AT_ONCE, data.num_agents)
        rows = order[ends[first - 1] if first else 0 : ends[stop - 1]]
        part = data.select(rows)
        own = None if weight is None else weight[rows]
        phi = basis(part.features) @ turn
        stats = moments(phi, part.change, part.agent - first, stop - first, own)
        parts.append((_posterior_draws(stats, prior, members, rng) @ turn.mT).flatten(2))
    return torch.cat(parts, dim=1)


def _posterior_draws(
    stats: Moments, prior: Population, members: int, rng: np.random.Generator
) -> Tensor:
    """Draws from posteriors whose mean is theirs ``[m, N, c, P]``, coordinate after coordinate."""
    n, c, p = stats.cross.shape
    noise = torch.as_tensor(rng.standard_normal((members, c, n, p))) if members > 1 else None
    drawn = stats.cross.new_empty(members, n, c, p)
    for k in range(c):
        mean, half = posterior(stats, prior, k)
        drawn[:, :, k] = mean
        if noise is not None:
            own = noise[:, k].to(mean)
            own = (own - own.mean(0)) * (members / (members - 1)) ** 0.5
            drawn[:, :, k] += (half.mT @ own[..., None])[..., 0]
    return drawn
