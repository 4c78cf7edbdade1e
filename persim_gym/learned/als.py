"""The closed-form fit from data to members: choose, fit, prune, resample, draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.basis import Monomials
from persim_gym.learned.closed_form import (
    Factors,
    LowRankFit,
    alternate,
    posterior,
    principal,
)
from persim_gym.learned.config import AlsConfig
from persim_gym.learned.polynomial_ensemble import PolynomialEnsemble
from persim_gym.learned.problem import Problem
from persim_gym.learned.selection import Choice, Selection, Trial, prune
from persim_gym.learned.statistics import Rows, Statistics, gather, memory

#: Bytes of statistics of the agents that weights are fitted on.
MEMORY = 1_500_000_000
#: Agents whose factors are computed together.
AGENTS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """A closed-form fit.

    Attributes:
        ensemble: The members, in double precision.
        factors: Each member's posterior of the agents' factors, before draws.
        noise: Variance of what is left, in units of ``scale`` ``[m, d]``.
        choice: How degree, rank and threshold were chosen.
    """

    ensemble: PolynomialEnsemble
    factors: Factors
    noise: Tensor
    choice: Choice


def fit_closed_form(
    problem: Problem, config: AlsConfig, on_trial: Callable[[Trial], None] | None = None
) -> ClosedForm:
    """Fit the members.

    Raises:
        ValueError: If the data do not carry the degree and rank that are asked for.
    """
    rng = np.random.default_rng([config.seed, 3])
    selection = Selection(problem, rng, ridge=config.ridge, on_trial=on_trial)
    choice = selection.choose(config.degree, config.rank, config.threshold)
    best = choice.best
    monomials = problem.basis(best.degree)
    learners = _learners(problem.rows, monomials, rng)
    rows = problem.rows if learners is None else problem.rows.of_agents(learners)
    stats = gather(rows, problem.features(monomials))
    start = posterior(stats, choice.fit.weights, choice.fit.noise)
    fit = alternate(stats, start, rounds=config.rounds, ridge=config.ridge)
    if best.threshold:
        fit = prune(fit, stats, best.threshold, config.ridge, rounds=config.rounds)
        used = (fit.weights != 0).any(4).any(2).any(1).any(0)
        monomials, kept = monomials.subset(used.cpu().numpy())
        fit = replace(fit, weights=fit.weights[:, :, :, kept])
        stats = gather(rows, problem.features(monomials))
    fit = _resampled(principal(fit, stats), stats, config, rng)
    factors = _all_factors(problem, monomials, fit)
    ensemble = problem.ensemble(
        monomials, LowRankFit(fit.weights, _drawn(factors, rng), fit.noise, fit.rounds)
    )
    return ClosedForm(ensemble, factors, fit.noise, choice)


def _learners(rows: Rows, monomials: Monomials, rng: np.random.Generator) -> Tensor | None:
    """Agents that the weights are fitted on, where all would take too much memory."""
    most = MEMORY // memory(1, rows.choices, monomials.size)
    if rows.num_agents <= most:
        return None
    return torch.as_tensor(np.sort(rng.permutation(rows.num_agents)[:most]))


def _resampled(
    fit: LowRankFit, stats: Statistics, config: AlsConfig, rng: np.random.Generator
) -> LowRankFit:
    """Members that see the agents with random importance (a Bayesian bootstrap)."""
    m = config.ensemble_size
    factors = Factors(
        fit.factors.mean.expand(m, -1, -1), fit.factors.covariance.expand(m, -1, -1, -1)
    )
    if m == 1:
        return fit
    mask = (fit.weights != 0).any(2)[0]
    importance = torch.as_tensor(rng.exponential(size=(m, stats.num_agents)))
    importance = importance.to(stats.square.device)
    return alternate(
        stats,
        factors,
        rounds=max(5, config.rounds // 10),
        mask=mask,
        ridge=config.ridge,
        importance=importance,
    )


def _all_factors(problem: Problem, monomials: Monomials, fit: LowRankFit) -> Factors:
    """Posteriors of all agents, some thousand at a time."""
    parts = []
    for agents in torch.arange(problem.rows.num_agents).split(AGENTS_AT_ONCE):
        stats = gather(problem.rows.of_agents(agents), problem.features(monomials))
        parts.append(posterior(stats, fit.weights, fit.noise))
    return Factors(
        torch.cat([part.mean for part in parts], dim=1),
        torch.cat([part.covariance for part in parts], dim=1),
    )


def _drawn(factors: Factors, rng: np.random.Generator) -> Factors:
    """Each member's factors drawn from its posterior, the mean of the draws kept where it was.

    The spread of the members is then the posterior's, and their mean is as good as without draws.
    """
    m, n, r = factors.mean.shape
    if m == 1 or r == 1:
        return factors
    noise = torch.as_tensor(rng.standard_normal((m, n, r - 1))).to(factors.mean.device)
    root, _ = torch.linalg.cholesky_ex(factors.covariance)
    draws = (root @ noise[..., None])[..., 0]
    draws = (draws - draws.mean(0)) * (m / (m - 1)) ** 0.5
    mean = factors.mean.clone()
    mean[..., 1:] += draws
    return Factors(mean, factors.covariance)
