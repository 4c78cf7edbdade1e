"""Choosing the degree of a hierarchical regression, and the tails of its noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.regression.extrapolation import CLOSE
from persim_gym.learned.regression.orthonormal import ProductBasis, count_terms, orthonormal
from persim_gym.learned.regression.population import (
    Moments,
    Population,
    estimate,
    means,
    moments,
    pooled,
)

#: Most multiplications of a round of the population's estimate, and least agents that it is made
#: from where all would take more.
WORK, FEWEST = {"quick": 3e7, "default": 2e8, "thorough": 4e9}, 100
#: Rounds of that estimate, as many as take so much for each round, and the least number of them.
ROUNDS, LEAST_ROUNDS = 60, 5
#: Degrees that are tried; one is kept if the next two are not better by a tenth, or if its error
#: is so small, in units of the changes, that less is of no use.
DEGREES, PATIENCE, GAIN, FINE = (1, 2, 3, 4, 5, 6, 7, 8), 2, 0.1, 1e-4
#: Standard errors by which agents must gain otherwise, and agents that this takes.
SURE, SEVERAL = 2.0, 10
#: Transitions for each term below which a degree is not tried.
ROWS_PER_TERM = 3.0
#: Share of each agent's transitions that a degree is chosen by: the last ones.
HELD = 0.25
#: Transitions of the median agent's share below which a degree is chosen by several ends, each
#: predicted from what was before, and their number: one or two last steps may be the same luck for
#: all agents, a bad year or a hot day.
FEW, ENDS = 4, 3
#: Share of the changes' variance that may be left of what is taken for the law itself.
LAW = 1e-7
#: Rounds of weights for heavy tails, the kurtosis of what is left from which these are tried, the
#: degrees of freedom, and by how much the absolute error of transitions held out must fall. The
#: population hardly changes from one to the next: a few of its rounds will do.
REWEIGHTED, REFINED, KURTOSIS, FREEDOM, LESS = 4, 5, 12.0, 4.0, 0.03


@dataclass(frozen=True, slots=True)
class Samples:
    """Transitions as a regression sees them.

    Attributes:
        features: Standardised states and actions ``[T, q]``, discrete actions as indicators
            without the first.
        change: Scaled changes ``[T, c]``.
        agent: ``[T]``; an agent's transitions in order of time.
        num_agents: ``N``.
    """

    features: Tensor
    change: Tensor
    agent: Tensor
    num_agents: int

    @classmethod
    def of(cls, features: Any, change: Any, agent: Any, num_agents: int) -> Samples:
        """From arrays or tensors, into double precision.

        Raises:
            ValueError: If sizes do not fit together, there are none, or values are not finite.
        """
        z = torch.as_tensor(features, dtype=torch.float64)
        y = torch.as_tensor(change, dtype=torch.float64, device=z.device)
        who = torch.as_tensor(agent, dtype=torch.long, device=z.device)
        if z.ndim != 2 or y.ndim != 2 or not len(z) == len(y) == len(who) or not len(z):
            raise ValueError(
                "features [T, q], changes [T, c] and agents [T] of at least one transition are "
                f"expected, got shapes {tuple(z.shape)}, {tuple(y.shape)} and {tuple(who.shape)}"
            )
        if not bool(torch.isfinite(z).all() and torch.isfinite(y).all()):
            raise ValueError("features and changes must be finite: leave out rows that are not")
        if int(who.min()) < 0 or int(who.max()) >= num_agents:
            raise ValueError(
                f"agents must be from 0 to {num_agents - 1}, got {int(who.min())} to "
                f"{int(who.max())}"
            )
        return cls(z, y, who, num_agents)

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agent)

    def select(self, rows: Tensor) -> Samples:
        """Some transitions, by index or mask."""
        return Samples(self.features[rows], self.change[rows], self.agent[rows], self.num_agents)

    def of_agents(self, agents: Tensor) -> Samples:
        """The transitions of some agents ``[k]``, who are numbered anew in that order."""
        place = self.agent.new_full((self.num_agents,), -1)
        place[agents] = torch.arange(len(agents), device=place.device)
        part = self.select(place[self.agent] >= 0)
        return replace(part, agent=place[part.agent], num_agents=len(agents))


@dataclass(frozen=True, slots=True)
class End:
    """A stretch that is held out, and what was before it.

    Attributes:
        train: What was before.
        held: The stretch.
        phi: Terms of what was before, of all degrees ``[T, P]``.
        begun: Populations of what was before, by degree.
    """

    train: Samples
    held: Samples
    phi: Tensor
    begun: dict[int, Population] = field(default_factory=dict)


def work_of(inputs: int, coordinates: int, agents: int, degree: int) -> float:
    """Multiplications of a round of the population's estimate, of as few agents as it may have."""
    return float(coordinates * min(agents, FEWEST) * count_terms(inputs, degree) ** 3)


class Search:
    """Degrees one after the other, each begun from the one before.

    Args:
        data: All transitions.
        effort: How large a basis may be, and how long its population is estimated.
        degree: The degree, where it is given.
        rng: Chooses agents, where there are more than are needed.
    """

    def __init__(
        self, data: Samples, effort: str, degree: int | None, rng: np.random.Generator
    ) -> None:
        self.trials: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.asked, self.work = degree, WORK[effort]
        self.seen = torch.bincount(data.agent, minlength=data.num_agents).nonzero()[:, 0]
        self.most = self._most(data)
        self.basis, self._turn = orthonormal(
            ProductBasis.up_to(self.most, data.features, CLOSE), data.features
        )
        self.rng = rng
        learners = self.learners(data, self.terms(self.most))
        own = data.of_agents(learners)
        self.ends = [
            End(own.select(before), own.select(held), self._features(own.select(before)))
            for before, held in _held_out_ends(own)
        ]
        self._begun = self.ends[0].begun

    def _most(self, data: Samples) -> int:
        q, c, have = data.features.shape[1], data.change.shape[1], len(data)
        most = 0
        for tried in DEGREES if self.asked is None else range(1, self.asked + 1):
            p = count_terms(q, tried)
            if self.asked is None and tried > 1 and ROWS_PER_TERM * p > have:
                self.notes.append(f"degree {tried} not tried: {have} transitions for {p} terms")
                break
            if tried > 1 and work_of(q, c, len(self.seen), tried) > self.work:
                self.notes.append(f"degree {tried} not tried: {p} terms are too many")
                break
            most = tried
        if self.asked is not None and most < self.asked:
            raise ValueError(
                f"degree {self.asked} of {q} features has {count_terms(q, self.asked)} terms, too "
                "many: choose a lower degree, or effort='thorough'"
            )
        return most

    def learners(self, data: Samples, terms: int) -> Tensor:
        """Agents that the population is learned from."""
        most = max(FEWEST, int(self.work / (data.change.shape[1] * terms**3)))
        if len(self.seen) <= most:
            return self.seen
        drawn = self.rng.permutation(len(self.seen))[:most]
        return self.seen[torch.as_tensor(np.sort(drawn), device=self.seen.device)]

    def terms(self, degree: int) -> int:
        """Terms up to a degree."""
        return int((self.basis.degrees <= degree).sum())

    def turn(self, degree: int) -> Tensor:
        """What makes the terms up to a degree orthonormal ``[P, P]``."""
        p = self.terms(degree)
        return self._turn[:p, :p]

    def _features(self, data: Samples) -> Tensor:
        return self.basis(data.features) @ self._turn

    def choose(self, tails: float | str | None) -> tuple[int, float | None]:
        """Degree, and degrees of freedom of the noise."""
        # Where nothing can be held out, of records of one transition, the lowest has to do.
        best, misses = self.asked or 1, 0
        if self.asked is None and len(self.ends[0].held):
            least: list[Tensor] | None = None
            for tried in range(1, self.most + 1):
                if self.terms(tried) == self.terms(tried - 1):
                    continue  # nothing but what lower degrees have: inputs of few values
                own = self._try(tried, None)
                if least is None or _first_and_most(map(better, own, least)):
                    best, least, misses = tried, own, 0
                else:
                    misses += 1
                if misses == PATIENCE or self.trials[-1]["error"] < FINE:
                    break
        if not isinstance(tails, str):
            return best, tails
        return best, self._tails(best)

    def _tails(self, degree: int) -> float | None:
        end = self.ends[0]
        if not len(end.held):
            return None
        if not self.trials:
            self._try(degree, None)
        left = self._left(end, end.train, degree, self._moments(end, degree, None))
        scaled = left / left.std(0, correction=0).clamp_min(1e-12)
        noise = end.begun[degree].noise
        if float(noise.max()) <= LAW or float(scaled.pow(4).mean(0).max()) < KURTOSIS:
            return None
        gaussian = next(t["absolute"] for t in self.trials if t["degree"] == degree)
        self._try(degree, FREEDOM)
        return FREEDOM if self.trials[-1]["absolute"] < (1 - LESS) * gaussian else None

    def _moments(self, end: End, degree: int, weight: Tensor | None) -> Moments:
        phi, own = end.phi[:, : self.terms(degree)], end.train
        return moments(phi, own.change, own.agent, own.num_agents, weight)

    def _start(self, begun: dict[int, Population], degree: int, stats: Moments) -> Population:
        """From where a degree's population is estimated: that of the degree below."""
        if degree == 1:
            return pooled(stats)
        if degree - 1 not in begun:
            below = stats.first(self.terms(degree - 1))
            begun[degree - 1] = self._estimate(below, self._start(begun, degree - 1, below))
        return begun[degree - 1].widened(self.terms(degree))

    def _estimate(self, stats: Moments, start: Population) -> Population:
        """The population, in fewer rounds where each takes more than the effort allows.

        The first degree is tried whatever it takes: a long past of many coordinates has hundreds of
        terms even there.
        """
        agents, c, p = stats.cross.shape
        each = c * agents * p**2 * min(p, stats.longest)
        rounds = max(LEAST_ROUNDS, min(ROUNDS, int(ROUNDS * self.work / each)))
        if rounds < ROUNDS:
            text = f"{p} terms: the population is estimated in at most {rounds} of {ROUNDS} rounds"
            self.notes += [] if text in self.notes else [text]
        return estimate(stats, start, rounds=rounds)

    def _try(self, degree: int, tails: float | None) -> list[Tensor]:
        """Errors of the agents at each end; the last one stands in the trials."""
        lefts = [self._left_of(end, degree, tails) for end in self.ends]
        found = [_of_agents(end.held, left) for end, left in zip(self.ends, lefts, strict=True)]
        self.trials.append(
            {
                "degree": degree,
                "terms": self.terms(degree),
                "tails": tails,
                "error": float(found[0].log().mean().exp()),
                "ninth_decile": float(torch.quantile(found[0], 0.9)),
                "absolute": float(lefts[0].abs().mean()),
            }
        )
        return found

    def _left_of(self, end: End, degree: int, tails: float | None) -> Tensor:
        """What is left of the transitions of an end ``[T, c]``."""
        stats = self._moments(end, degree, None)
        if degree not in end.begun:
            end.begun[degree] = self._estimate(stats, self._start(end.begun, degree, stats))
        prior = end.begun[degree]
        if tails is not None:
            phi = end.phi[:, : self.terms(degree)]
            prior, weight = student(end.train, phi, prior, tails, again=True)
            stats = self._moments(end, degree, weight)
        return self._left(end, end.held, degree, stats, prior)

    def _left(
        self, end: End, data: Samples, degree: int, stats: Moments, prior: Population | None = None
    ) -> Tensor:
        """What is left of transitions ``[T, c]``."""
        mean = means(stats, prior or end.begun[degree])
        phi = end.phi if data is end.train else self._features(data)
        return remainder(data, phi[:, : self.terms(degree)], mean)

    def population(
        self, degree: int, tails: float | None, data: Samples
    ) -> tuple[Population, Tensor | None]:
        """The prior from all transitions of the learners, and weights of all of them ``[T]``."""
        p = self.terms(degree)
        own = data.of_agents(self.learners(data, p))
        phi = self._features(own)[:, :p]
        stats = moments(phi, own.change, own.agent, own.num_agents)
        start = self._begun[degree] if degree in self._begun else self._start({}, degree, stats)
        prior = self._estimate(stats, start)
        if tails is None:
            return prior, None
        prior, _ = student(own, phi, prior, tails, again=True)
        return prior, student(data, self._features(data)[:, :p], prior, tails, again=False)[1]


def student(
    data: Samples, phi: Tensor, prior: Population, tails: float, *, again: bool
) -> tuple[Population, Tensor]:
    """The population under Student's t noise, and how much each transition counts ``[T]``.

    Args:
        data: Transitions.
        phi: Their terms ``[T, P]``.
        prior: The population under Gaussian noise.
        tails: Degrees of freedom.
        again: Whether the population is estimated again.
    """
    weight = torch.ones(len(data), dtype=phi.dtype, device=phi.device)
    for _ in range(REWEIGHTED):
        stats = moments(phi, data.change, data.agent, data.num_agents, weight)
        left = remainder(data, phi, means(stats, prior))
        weight = (tails + left.shape[1]) / (tails + (left.square() / prior.noise).sum(1))
        if again:
            stats = moments(phi, data.change, data.agent, data.num_agents, weight)
            count = torch.bincount(data.agent, minlength=data.num_agents).to(phi.dtype)
            prior = estimate(replace(stats, count=count), prior, rounds=REFINED)
    return prior, weight


def remainder(data: Samples, phi: Tensor, mean: Tensor) -> Tensor:
    """Changes less what coefficients ``[c, N, P]`` make of them."""
    parts = []
    most = max(1, 4_000_000 // (phi.shape[1] * len(mean)))
    for rows in torch.arange(len(data), device=phi.device).split(most):
        own = mean[:, data.agent[rows]]
        parts.append(data.change[rows] - (own * phi[rows]).sum(-1).mT)
    return torch.cat(parts)


def _of_agents(data: Samples, left: Tensor) -> Tensor:
    """Root mean square of what is left ``[T, c]`` of each agent that there is ``[n]``."""
    count = torch.bincount(data.agent, minlength=data.num_agents)
    square = torch.zeros(len(count), dtype=left.dtype, device=left.device)
    square.index_add_(0, data.agent, left.square().mean(1))
    return (square[count > 0] / count[count > 0]).sqrt().clamp_min(1e-7)


def _first_and_most(answers: Iterable[bool]) -> bool:
    """Whether the first one and most of them are yes.

    What agents share at one time decides nothing alone, nor does what is predicted from little.
    """
    said = list(answers)
    return said[0] and 2 * sum(said) > len(said)


def better(own: Tensor, least: Tensor) -> bool:
    """Whether agents' errors ``[n]`` are less than others, by much or significantly.

    What counts is half the mean log error, and half the log of the ninth decile. Noise hides how
    much a degree more is worth: what it takes away from all agents alike is no chance.
    """
    gained = least.log() - own.log()
    tail = (torch.quantile(least, 0.9) / torch.quantile(own, 0.9)).log()
    gain = float(0.5 * (gained.mean() + tail))
    if gain > GAIN or len(own) < SEVERAL:
        return gain > GAIN
    return gain > 0 and bool(gained.mean() > SURE * gained.std() / len(own) ** 0.5)


def _held_out_ends(data: Samples) -> list[tuple[Tensor, Tensor]]:
    """What is before, and the last quarter of each agent's transitions ``[T]``.

    That is one at least, but not its only one. Of short records the quarter before is held out as
    well, with what is before it, and the one before that.
    """
    order = torch.argsort(data.agent, stable=True)
    count = torch.bincount(data.agent, minlength=data.num_agents)
    first = count.cumsum(0) - count
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - first[data.agent[order]]
    width = (HELD * count).long().clamp_min(1)
    number = ENDS if float(width.double().median()) < FEW else 1
    found = []
    for end in range(number):
        stop = (count - end * width)[data.agent]
        begin = stop - width[data.agent]
        before, held = place < begin, (place >= begin) & (place < stop) & (begin > 0)
        if not end or bool(held.any()):
            found.append((before | (begin < 1) if not end else before, held))
    return found
