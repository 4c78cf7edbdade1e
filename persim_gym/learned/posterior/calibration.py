"""The prior of a fit, calibrated on the agents that were fitted: nothing else is needed for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.bounds import following_of
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.hierarchical.model import HierarchicalModel
from persim_gym.learned.history import slots
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.knowledge import Knowledge, Known, MixedKnowledge
from persim_gym.learned.posterior.latents import LatentModel, around, prior_of_latents
from persim_gym.learned.posterior.prior import (
    COUNTS,
    LEVELS,
    NUMBERS_AT_ONCE,
    ROWS_AT_ONCE,
    Evidence,
    FactorModel,
    FactorPrior,
    constant_first,
    moments,
    normal_quantile,
    of_factors,
    solve,
)

#: What is tried: temperatures of the noise, and correlations of errors within an agent.
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
CORRELATIONS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
#: Agents that a calibration uses, transitions of each, and agents below which none is made.
AGENTS, ROWS, LEAST = 128, 1000, 20
#: Transitions of each on whose predictions intervals are tried.
SHOWN = 100
#: Rows from which the noise of networks is taken.
NOISE_ROWS = 20_000
#: Effect of a personal number, in units of the noise's standard deviation, taken for none.
SILENT = 1e-3
#: Numbers of the fitted agents' evidence above which it is not kept.
MOST_KEPT = 8_000_000


def _own_prior(ensemble: Ensemble) -> FactorPrior | None:
    """The prior that a hierarchical model was fitted with, one for all members.

    Directions in which agents differ by less than :data:`SILENT` of the noise are left out: no
    agent has so many transitions that they would show.
    """
    if not isinstance(ensemble, FrameEnsemble) or not isinstance(ensemble.model, HierarchicalModel):
        return None
    model, unit = ensemble.model, ensemble.frame.unit.double()
    root, noise = model.prior_root.double(), model.noise.double()
    weighed = root.unflatten(0, (model.outputs, -1)) / noise.sqrt()[:, None, None]
    kept = weighed.square().sum((0, 1)).sqrt() > SILENT
    return FactorPrior(
        model.prior_mean.double()[None], root[:, kept][None], (noise * unit.square())[None]
    )


def learn_knowledge(
    ensemble: Ensemble, data: Data, noise: Tensor | None = None, seed: int = 0
) -> Known:
    """What new agents of a fit need: the prior, calibrated, and what the data say of each agent.

    Args:
        ensemble: The model, of any family.
        data: What it was fitted on; transitions that end on bounds are left out.
        noise: For a closed-form fit: what its factors leave, in the data's units ``[m, d]``.
        seed: Seed of the transitions and agents that are used.
    """
    if isinstance(ensemble, MixtureEnsemble):
        parts = (learn_knowledge(part, data, seed=seed) for part in ensemble.parts)
        return MixedKnowledge(tuple(parts))
    t = data.transitions
    kept = t.step >= ensemble.lag - 1  # a past that was recorded, where an agent has any
    kept |= ~np.isin(t.agent, t.agent[kept])
    if isinstance(ensemble, FrameEnsemble) and isinstance(ensemble.model, LatentNetwork):
        return _of_latents(ensemble, data, np.flatnonzero(kept), seed)
    rows = np.flatnonzero(~data.clipped & kept)
    if not ensemble.linear:
        return None
    own = _own_prior(ensemble)
    if own is not None:
        prior = own
    elif noise is None:
        prior = of_factors(ensemble.agent_factors(), _residuals(ensemble, data, rows, seed))
    else:
        prior = constant_first(noise, ensemble.rank)
    agents = ensemble.num_agents
    if prior.size:
        prior = calibrated(FactorModel(ensemble, prior), data, rows, seed, tempered=own is None)
    if _too_many(prior, agents):
        return Knowledge(prior, Evidence.none(prior, 0), first=agents)
    model, evidence = FactorModel(ensemble, prior), Evidence.none(prior, agents)
    for part in np.array_split(rows, max(1, len(rows) // (16 * ROWS_AT_ONCE))):
        evidence.add(model.evidence(*rows_of(data, part, ensemble), agents))
    return Knowledge(prior, evidence)


def _too_many(prior: FactorPrior, agents: int) -> bool:
    """Whether the evidence of fitted agents is too large to be kept."""
    return prior.members * agents * prior.size * (prior.size + 1) > MOST_KEPT


def _of_latents(
    ensemble: FrameEnsemble, data: Data, rows: NDArray[np.int64], seed: int
) -> Knowledge:
    """What new agents of a network need: fitted latents stay where they are until data come."""
    prior, agents = prior_of_latents(ensemble), ensemble.num_agents
    model = LatentModel(ensemble, prior)
    w = model.personal(ensemble.agent_factors())
    kept = Evidence.none(prior, agents)

    def read(part: NDArray[np.int64]) -> LatentData:
        return model.rows(data.task, *_recorded(data, part, ensemble), agents)

    for part in np.array_split(rows, max(1, len(rows) // (16 * ROWS_AT_ONCE))):
        kept.add(model.curvature(w, read(part)))
    kept = around(w, kept)
    covariance = solve(prior, kept)[1]
    rows = _some(rows, seed)
    parts = np.array_split(rows, max(1, len(rows) // ROWS_AT_ONCE))
    errors = [model.standardised(w, covariance, read(part)) for part in parts]
    if len(rows):
        levels = torch.as_tensor(LEVELS, dtype=torch.float64, device=prior.mean.device)
        table = torch.nanquantile(torch.cat(errors), levels, dim=0).T
        normal = torch.as_tensor(normal_quantile(LEVELS), device=table.device)
        table = torch.where(table.isnan(), normal, table)  # bounds have set all of it
        prior = replace(prior, quantiles=table.expand(len(COUNTS), -1, -1).clone())
    if _too_many(prior, agents):
        return Knowledge(prior, Evidence.none(prior, 0), first=agents)
    return Knowledge(prior, kept)


def rows_of(
    data: Data, rows: NDArray[np.int64], ensemble: Ensemble
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Agents, states, actions and changes of some transitions, for :class:`FactorModel`."""
    agents, states, actions, following = _recorded(data, rows, ensemble)
    return agents, states, actions, ensemble.difference(states.double(), following)


def _recorded(
    data: Data, rows: NDArray[np.int64], ensemble: Ensemble
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Agents, states, actions and next observations of some transitions."""
    t, device = data.transitions, ensemble.device
    states = slots(t, ensemble.lag, ensemble.past)[rows]
    arrays = (t.agent[rows], states, t.action[rows], following_of(t, rows, data.task))
    agents, states_, actions, following = (torch.as_tensor(a, device=device) for a in arrays)
    return agents, states_, actions, following


def _some(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most :data:`NOISE_ROWS` of some rows."""
    if len(rows) <= NOISE_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, NOISE_ROWS, replace=False))


def _residuals(ensemble: Ensemble, data: Data, rows: NDArray[np.int64], seed: int) -> Tensor:
    """Mean squares of what the fitted factors leave ``[m, d]``."""
    rows = _some(rows, seed)
    total: Any = 0.0
    moments_: list[Any] = [0.0, 0.0]
    for part in np.array_split(rows, max(1, len(rows) // ROWS_AT_ONCE)):
        agents, states, actions, change = rows_of(data, part, ensemble)
        predicted = before_bounds(ensemble, agents, states, actions)
        left = ensemble.difference(states, predicted).double() - change
        total = total + left.square().sum(1)
        moments_ = [moments_[0] + change.sum(0), moments_[1] + change.square().sum(0)]
    count = max(1, len(rows))
    noise: Tensor = total / count
    # A coordinate that is predicted to the last digit must not weigh without end.
    variance = moments_[1] / count - (moments_[0] / count).square()
    return torch.maximum(noise, 1e-12 * torch.where(variance > 1e-24, variance, 1.0))


@dataclass(frozen=True, slots=True)
class _Record:
    """An agent's transitions as a regression: some of the first, and sums over them.

    Attributes:
        design: Of the first :data:`SHOWN` ``[m, n, d, q]``.
        common: The mean agent's change ``[m, n, d]``.
        change: What was ``[n, d]``.
        precision: Sums over the transitions up to each of :data:`COUNTS`, as far as there are so
            many, and over all ``[m, len(COUNTS) + 1, q, q]``.
        information: ``[m, len(COUNTS) + 1, q]``.
        length: How many transitions there are.
    """

    design: Tensor
    common: Tensor
    change: Tensor
    precision: Tensor
    information: Tensor
    length: int


def calibrated(
    model: FactorModel,
    data: Data,
    rows: NDArray[np.int64],
    seed: int = 0,
    *,
    tempered: bool = True,
) -> FactorPrior:
    """The prior with temperature, correlation and quantiles from fitted agents.

    In a model that is right, the posterior mean after all transitions of an agent differs from
    the one after the first ``k`` by a Gaussian, whose covariance is that after ``k`` less what is
    left in the end. Temperature and correlation are those that score best; the least of them,
    where several do alike. The quantiles are those of the next transitions' errors, which
    need be no Gaussian's.

    Args:
        model: The model and its prior.
        data: What it was fitted on.
        rows: Transitions that are used.
        seed: Seed of the agents that are used.
        tempered: Whether to choose temperature and correlation. A hierarchical fit has taken its
            own agents' transitions as they are, and takes new agents' alike.
    """
    records = _records(model, data, rows, np.random.default_rng([seed, 5]))
    if len(records) < LEAST:
        return model.prior
    prior, best = model.prior, np.inf
    asked = _asked(prior, records) if tempered else []
    for correlation in CORRELATIONS if asked else ():
        for temperature in TEMPERATURES:
            tried = replace(model.prior, temperature=temperature, correlation=correlation)
            score = float(np.mean([one.score(tried) for one in asked]))
            if score < 0.999 * best:
                prior, best = tried, score
    return replace(prior, quantiles=_quantiles(prior, records))


def _records(
    model: FactorModel, data: Data, rows: NDArray[np.int64], rng: np.random.Generator
) -> list[_Record]:
    """First transitions of some agents, with sums of evidence after each of them."""
    agent = data.transitions.agent[rows]
    order = rows[np.argsort(agent, kind="stable")]
    found, first = np.unique(data.transitions.agent[order], return_index=True)
    ends = np.append(first[1:], len(order))
    prior, records = model.prior, []
    # With many personal numbers fewer agents, so that their sums stay in memory.
    each = prior.members * (len(COUNTS) + 1) * max(1, prior.size) ** 2
    most = min(AGENTS, NUMBERS_AT_ONCE // each)
    for place in rng.permutation(len(found)) if most >= LEAST else ():
        own = order[first[place] : ends[place]][:ROWS]
        if len(own) < 4:
            continue
        _, states, actions, change = rows_of(data, own, model.ensemble)
        design, common = model.design(states, actions)
        weighted = design / prior.noise[:, None, :, None]
        left = (change - common)[..., None]
        sums = []
        for count in (*COUNTS, len(own)):
            turned = weighted[:, :count].flatten(1, 2).mT
            sums.append(
                (turned @ design[:, :count].flatten(1, 2), turned @ left[:, :count].flatten(1, 2))
            )
        precision = torch.stack([part[0] for part in sums], dim=1)
        information = torch.stack([part[1][..., 0] for part in sums], dim=1)
        shown = design[:, :SHOWN].clone(), common[:, :SHOWN].clone(), change[:SHOWN]
        records.append(_Record(*shown, precision, information, len(own)))
        if len(records) == most:
            break
    return records


def _evidence(records: list[_Record], place: int) -> Evidence:
    """What some agents' transitions up to a place among their sums say."""
    counts = [record.length if place < 0 else COUNTS[place] for record in records]
    precision = torch.stack([record.precision[:, place] for record in records], dim=1)
    information = torch.stack([record.information[:, place] for record in records], dim=1)
    return Evidence(precision, information, torch.as_tensor(counts, device=precision.device))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What posteriors after a few transitions are asked: where factors turn out to be.

    A prior without temperature and correlation says of which directions the later transitions said
    something new, and how much, and is the unit of errors; what is tried has no part in that.

    Attributes:
        count: Number of the first transitions ``[n]``.
        values: Eigenvalues of the precision that they add ``[m, n, q]``.
        vectors: Its eigenvectors ``[m, n, q, q]``.
        information: Theirs, along the eigenvectors ``[m, n, q]``.
        truth: The most likely numbers in the end ``[m, n, q]``.
        new: Share of the variance that the later transitions took away.
        informed: Where they said something new.
        unit: Standard deviation of these after the first transitions.
    """

    count: Tensor
    values: Tensor
    vectors: Tensor
    information: Tensor
    truth: Tensor
    new: Tensor
    informed: Tensor
    unit: Tensor

    def score(self, prior: FactorPrior) -> float:
        """How well a prior's posteriors say it: the continuous ranked probability.

        A proper score: knowing nothing is calibrated, too, and scores badly. The less, the better.
        """
        share = 1.0 / prior.tempering(self.count)[:, None]
        inverse = 1.0 / (1.0 + share * self.values)
        mean = (self.vectors @ (inverse * share * self.information)[..., None])[..., 0]
        variance = (self.vectors.square() @ inverse[..., None])[..., 0]
        sd = (variance * self.new)[self.informed].sqrt()
        z = (self.truth - mean)[self.informed] / sd
        density = torch.exp(-z.square() / 2) / (2 * math.pi) ** 0.5
        ranked = z * torch.erf(z / 2**0.5) + 2 * density - 1 / math.pi**0.5
        return float((ranked * sd / self.unit).mean())


def _asked(plain: FactorPrior, records: list[_Record]) -> list[_Asked]:
    """What is asked after each of :data:`COUNTS`, of the agents that live twice as long."""
    found = []
    for place, count in enumerate(COUNTS[1:], start=1):
        own = [record for record in records if record.length >= 2 * count]
        if len(own) < LEAST:
            break
        evidence = _evidence(own, place)
        before = solve(plain, evidence)[1].diagonal(dim1=-2, dim2=-1)
        truth, covariance = solve(plain, _evidence(own, -1))
        new = 1.0 - covariance.diagonal(dim1=-2, dim2=-1) / before
        informed = new > 0.1
        if informed.any():
            values, vectors = torch.linalg.eigh(evidence.precision)
            values = values.clamp_min(0.0)  # rounding may make one slightly negative
            along = (vectors.mT @ evidence.information[..., None])[..., 0]
            first, later = (evidence.count, values, vectors, along), (truth, new, informed)
            found.append(_Asked(*first, *later, before[informed].sqrt()))
    return found


def _quantiles(prior: FactorPrior, records: list[_Record]) -> Tensor:
    """Errors of predictions after some transitions ``[len(COUNTS), d, len(LEVELS)]``."""
    levels = torch.as_tensor(LEVELS, dtype=torch.float64, device=prior.mean.device)
    table: list[Tensor] = []
    for number, count in enumerate(COUNTS):
        kept = [record for record in records if record.length > max(count + 1, 3)]
        if len(kept) < LEAST and table:
            table.append(table[-1])  # too few agents live so long
            continue
        mean, covariance = solve(prior, _evidence(kept, number))
        errors = []
        for place, record in enumerate(kept):
            part = slice(count, count + 50)
            predicted, variance = moments(
                record.design[:, part],
                record.common[:, part],
                mean[:, place],
                covariance[:, place],
                prior,
            )
            errors.append((record.change[part] - predicted).abs() / variance.sqrt())
        table.append(torch.quantile(torch.cat(errors), levels, dim=0).T)
    return torch.stack(table)
