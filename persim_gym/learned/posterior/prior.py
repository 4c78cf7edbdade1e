"""What a population says of an agent that was not in training, and how far its transitions count.

The change of state is linear in an agent's factor, so that transitions of a new agent are a linear
regression with the population as its prior: ``factor = mean + root @ w`` with ``w ~ N(0, 1)``.
What a model leaves unexplained is not white noise, though: errors of neighbouring transitions are
alike, and a hundred of them may say no more than ten. How much ``k`` transitions count, and how
wide intervals must be, is measured on the fitted agents by
:mod:`persim_gym.learned.posterior.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.ensemble import Ensemble

#: Transitions of an agent after which a posterior is compared with what came of it.
COUNTS = (0, 1, 2, 5, 10, 25, 50)
#: Levels at which the predictions' errors are tabulated.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
#: Rows that go through a model together, and numbers that are made of them at the most.
ROWS_AT_ONCE, NUMBERS_AT_ONCE = 4096, 20_000_000


@dataclass(frozen=True, slots=True)
class FactorPrior:
    """The population as the prior of a new agent's factor.

    ``m`` is the number of members, or 1 where all members have the same model of the agents.

    Attributes:
        mean: Mean factor ``[m, r]``.
        root: A root of their covariance ``[m, r, q]``.
        noise: Variance of what a factor leaves unexplained, in the data's units ``[m, d]``.
        temperature: By how much that variance is taken larger for a posterior.
        correlation: Correlation ``c`` of the errors of one agent: ``k`` transitions count as
            ``k / (1 + c (k - 1))`` independent ones.
        quantiles: Absolute standardised error of predictions after :data:`COUNTS` transitions at
            :data:`LEVELS`, ``[len(COUNTS), d, len(LEVELS)]``; ``None`` for Gaussian ones.
    """

    mean: Tensor
    root: Tensor
    noise: Tensor
    temperature: float = 1.0
    correlation: float = 0.0
    quantiles: Tensor | None = field(default=None)

    @property
    def members(self) -> int:
        """Number of members ``m`` that have a prior of their own."""
        return len(self.mean)

    @property
    def size(self) -> int:
        """Numbers ``q`` that are personal."""
        return self.root.shape[2]

    def tempering(self, count: Tensor | int) -> Tensor:
        """By what the evidence of ``count`` transitions is divided."""
        k = torch.as_tensor(count, dtype=torch.float64, device=self.mean.device)
        return self.temperature * (1.0 + self.correlation * (k - 1.0).clamp_min(0.0))

    def factors(self, w: Tensor) -> Tensor:
        """Personal numbers ``[m, ..., q]`` as factors ``[m, ..., r]``."""
        lead = (1,) * (w.ndim - 2)
        mean, root = self.mean, self.root
        return mean.view(len(mean), *lead, -1) + torch.einsum("m...q,mrq->m...r", w, root)

    def quantile(self, level: float, count: int) -> Tensor:
        """Half width of a level's interval, in standard deviations of a coordinate ``[d]``."""
        d = self.noise.shape[1]
        if self.quantiles is None:
            return torch.as_tensor(normal_quantile(level), device=self.mean.device).expand(d)
        # Between the counts and the levels of the table: linear in log(1 + count) and in the
        # quantile of a Gaussian, which the table's rows resemble.
        table = self.quantiles.cpu().numpy()
        place = np.interp(np.log1p(count), np.log1p(COUNTS), np.arange(len(COUNTS)))
        low = min(int(place), len(COUNTS) - 2)
        row = table[low] + (place - low) * (table[low + 1] - table[low])
        found = [np.interp(normal_quantile(level), normal_quantile(LEVELS), line) for line in row]
        return torch.as_tensor(np.array(found), device=self.mean.device)

    def to(self, device: torch.device | str) -> FactorPrior:
        """The same on a device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        changed: dict[str, Any] = {**moved}
        return replace(self, **changed)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file, beside temperature and correlation."""
        names = ("mean", "root", "noise", "quantiles")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def to_json(self) -> dict[str, float]:
        """Temperature and correlation."""
        return {"temperature": self.temperature, "correlation": self.correlation}

    @classmethod
    def from_file(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> FactorPrior:
        """What :meth:`tensors` and :meth:`to_json` have given.

        Raises:
            TypeError: If something is missing or unknown.
        """
        parts: dict[str, Any] = {**tensors, **plain}
        return cls(**parts)


def constant_first(noise: Tensor, rank: int) -> FactorPrior:
    """The prior of a closed-form fit: the first factor is 1, the others are standard normal.

    Args:
        noise: Variance of what is left, in the data's units ``[m, d]``.
        rank: Rank ``r``.
    """
    m = len(noise)
    unit = torch.eye(rank, dtype=torch.float64, device=noise.device).expand(m, rank, rank)
    return FactorPrior(unit[:, 0].clone(), unit[:, :, 1:].clone(), noise.double())


def of_factors(factors: Tensor, noise: Tensor) -> FactorPrior:
    """The prior of networks: mean and covariance of the agents' factors.

    Members know factors up to a linear map of their own. Roots are turned so that the same ``w``
    means the same agent to all of them, as far as they agree: then draws cancel in their mean.

    Args:
        factors: ``[m, N, r]``.
        noise: ``[m, d]``.
    """
    values = factors.double()
    mean = values.mean(1)
    centred = values - mean[:, None]
    left, singular, right = torch.linalg.svd(centred, full_matrices=False)
    root = right.mT * (singular / len(values[0]) ** 0.5)[:, None, :]
    # Orthogonal Procrustes of the whitened factors, to the first member's.
    turn, _, back = torch.linalg.svd(left.mT @ left[:1])
    return FactorPrior(mean, root @ (turn @ back), noise.double())


def rows_at_once(prior: FactorPrior) -> int:
    """Rows whose evidence is computed together: with many personal numbers, few."""
    each = prior.members * prior.size * max(prior.size, prior.noise.shape[1])
    return max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, each)))


def normal_quantile(levels: Any) -> NDArray[np.float64]:
    """Half widths of a standard normal's intervals of some levels."""
    values = torch.as_tensor(levels, dtype=torch.float64)
    return np.asarray((2.0**0.5 * torch.erfinv(values)).numpy())


@dataclass(slots=True)
class Evidence:
    """What transitions say of the factors of agents, without the prior: sums that add up.

    Attributes:
        precision: ``[m, n, q, q]``.
        information: ``[m, n, q]``.
        count: Transitions ``[n]``.
    """

    precision: Tensor
    information: Tensor
    count: Tensor

    @classmethod
    def none(cls, prior: FactorPrior, agents: int) -> Evidence:
        """No transitions of some agents."""
        m, q = prior.members, prior.size
        return cls(
            prior.mean.new_zeros(m, agents, q, q),
            prior.mean.new_zeros(m, agents, q),
            torch.zeros(agents, dtype=torch.long, device=prior.mean.device),
        )

    def select(self, agents: list[int]) -> Evidence:
        """That of some agents, copied."""
        return Evidence(self.precision[:, agents], self.information[:, agents], self.count[agents])

    def add(self, other: Evidence, agents: list[int] | None = None) -> None:
        """Add what further transitions say, of all agents or of some, in that order."""
        places: Any = slice(None) if agents is None else agents
        self.precision[:, places] += other.precision
        self.information[:, places] += other.information
        self.count[places] += other.count

    def append(self, *others: Evidence) -> Evidence:
        """That of these agents, then that of others."""
        each = (self, *others)
        return Evidence(
            torch.cat([one.precision for one in each], dim=1),
            torch.cat([one.information for one in each], dim=1),
            torch.cat([one.count for one in each]),
        )

    def to(self, device: torch.device | str) -> Evidence:
        """The same on a device."""
        return Evidence(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        return {name: getattr(self, name) for name in ("precision", "information", "count")}


class FactorModel:
    """A fitted model as a linear regression on the personal numbers, in double precision.

    Networks compute in single precision; what is made of their output here is in double.

    Args:
        ensemble: The model; agents' factors in it do not matter.
        prior: The population's.
    """

    def __init__(self, ensemble: Ensemble, prior: FactorPrior) -> None:
        mean_agent = ensemble.with_factors(prior.mean[:, None])
        self.double = mean_agent.precise
        self.ensemble = mean_agent
        if self.double:
            self.ensemble = mean_agent.to(mean_agent.device, torch.float64)
        self.members = ensemble.members
        self.prior = prior

    def design(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """What the personal numbers are multiplied to, and the mean agent's change.

        Args:
            states: ``[n, l * d]``.
            actions: ``[n(, a)]``.

        Returns:
            ``[m, n, d, q]`` and ``[m, n, d]``, in double precision.
        """
        kind = torch.float64 if self.double else torch.float32
        whole = self.ensemble.design(states.to(kind), actions).double()
        common = torch.einsum("mndr,mr->mnd", whole, self.prior.mean)
        return whole @ self.prior.root[:, None], common + self.ensemble.offset().double()

    def evidence(
        self, agents: Tensor, states: Tensor, actions: Tensor, change: Tensor, num_agents: int
    ) -> Evidence:
        """What transitions say of their agents.

        Args:
            agents: ``[n]``, below ``num_agents``.
            states: ``[n, l * d]``.
            actions: ``[n(, a)]``.
            change: Of the observation ``[n, d]``, in double precision.
            num_agents: Number of agents.
        """
        found = Evidence.none(self.prior, num_agents)
        found.count += torch.bincount(agents, minlength=num_agents)
        weight = 1.0 / self.prior.noise[:, None, :]
        at_once = rows_at_once(self.prior)
        rows = zip(
            *(part.split(at_once) for part in (agents, states, actions, change)), strict=True
        )
        for whose, state, action, moved in rows:
            design, common = self.design(state, action)
            weighted = design * weight[..., None]
            found.precision.index_add_(1, whose, weighted.mT @ design)
            left = (moved - common)[..., None]
            found.information.index_add_(1, whose, (weighted.mT @ left)[..., 0])
        return found


def solve(
    prior: FactorPrior, evidence: Evidence, given: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior means ``[m, n, q]`` and covariances ``[m, n, q, q]`` of the personal numbers.

    Args:
        prior: The population's.
        evidence: Of ``n`` agents.
        given: Precision and information of what else is known of them, added to the prior.
    """
    share = 1.0 / prior.tempering(evidence.count)
    total = evidence.precision * share[:, None, None]
    information = evidence.information * share[:, None]
    if given is not None:
        total, information = total + given[0], information + given[1]
    values, vectors = torch.linalg.eigh((total + total.mT) / 2)
    # Rounding may make a direction that no transition shows slightly negative.
    inverse = 1.0 / (1.0 + values.clamp_min(0.0))
    covariance = (vectors * inverse[..., None, :]) @ vectors.mT
    return (covariance @ information[..., None])[..., 0], covariance


def moments(
    design: Tensor, common: Tensor, mean: Tensor, covariance: Tensor, prior: FactorPrior
) -> tuple[Tensor, Tensor]:
    """Mean and variance of an agent's changes ``[n, d]``, over all members.

    Args:
        design: ``[m, n, d, q]``.
        common: The mean agent's change ``[m, n, d]``.
        mean: Of the personal numbers ``[m, q]``.
        covariance: ``[m, q, q]``.
        prior: Whose noise it is.
    """
    change = common + torch.einsum("mndq,mq->mnd", design, mean)
    own = torch.einsum("mndq,mqp,mndp->mnd", design, covariance, design)
    within = (own + prior.noise[:, None]).mean(0)
    return change.mean(0), within + change.var(0, correction=0)
