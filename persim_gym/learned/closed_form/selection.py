"""Choosing degree, rank and threshold of a closed-form fit, from the data alone.

Some agents are held out. The weights are fitted without them; their factors are fitted to the
first half of what was recorded of them; and the rest is predicted, open loop. What a candidate is
worth is the geometric mean over these agents of that error, and its upper tail counts as much as
its middle. A candidate whose long rollouts leave the data's support is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from persim_gym.learned.closed_form.agent_sums import Statistics, gather, memory
from persim_gym.learned.closed_form.alternation import (
    ROWS_PER_WEIGHT,
    Factors,
    LowRankFit,
    alternate,
    carried,
    first_factors,
    posterior,
    principal,
    widened,
)
from persim_gym.learned.closed_form.basis import Monomials
from persim_gym.learned.closed_form.heldout import Windows, first_half, rows_of, split_agents
from persim_gym.learned.closed_form.problem import Problem
from persim_gym.learned.closed_form.pruning import prune

#: Bytes of statistics that a candidate may take.
MEMORY = 1_000_000_000
#: Degrees in the order in which they are tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10, 12)
MAX_RANK = 12
MAX_MONOMIALS = 400
#: Ranks without a gain after which a degree's search ends: at first, when going on from a lower
#: degree, and where so much of the observations' deviation is still unexplained that something must
#: be missing. A law of rank four may show nothing of itself at ranks two and three.
PATIENCE, FURTHER_PATIENCE, LAST_PATIENCE = 2, 1, 5
POOR = 0.2
#: Errors below this, in units of the observations' deviation, count alike: nobody can use less.
FINE = 1e-5
#: A more complex candidate must be better by this, in the logarithm of the error: by a seventh.
#: Less is not worth what complexity costs far from the data.
GAIN = 0.15
#: A pruned model may be worse by this.
LOSS = 0.05
#: Monomials above which a degree is expensive. Below, one more degree is looked at after one that
#: was no better, because a law may be odd or even; above, not, and not where errors are as small
#: as :data:`EXACT` already.
CHEAP = 60
EXACT = 1e-4
#: Share of long rollouts that may leave the support.
ESCAPES = 0.05
#: Thresholds of pruning that are tried, in units of a change's deviation.
THRESHOLDS = (1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate and what it was worth.

    Attributes:
        degree: Degree of the basis.
        rank: Rank.
        threshold: Threshold of pruning; 0 for none.
        score: Half the mean over held-out agents of the log of the open-loop error, in units of
            the observations' deviation, and half the log of its ninth decile.
        error: Geometric mean of the error.
        one_step: Root mean square error of single steps in the held-out stretches, in the data's
            units.
        escapes: Share of long rollouts that leave the support.
        terms: Weights of one member that are not zero.
    """

    degree: int
    rank: int
    threshold: float
    score: float
    error: float
    one_step: float
    escapes: float
    terms: int

    @property
    def stable(self) -> bool:
        """Whether its long rollouts stay where the data are."""
        return self.escapes <= ESCAPES

    def to_json(self) -> dict[str, Any]:
        """As plain types."""
        return {
            name: getattr(self, name)
            for name in ("degree", "rank", "threshold", "error", "one_step", "escapes", "terms")
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, after what trials.

    Attributes:
        best: The chosen candidate.
        fit: Its fit, without the agents held out.
        trials: All candidates, in order.
        notes: What was not tried, or chosen down, and why.
        lowered: What was asked for and chosen down, a sentence each.
    """

    best: Trial
    fit: LowRankFit
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]
    lowered: tuple[str, ...] = ()


class Selection:
    """A search over candidates on one split of the data.

    Args:
        problem: The data.
        generator: Randomness of the split and of first factors.
        ridge: Penalty of the regressions.
        on_trial: Told of each candidate.
    """

    def __init__(
        self,
        problem: Problem,
        generator: np.random.Generator,
        *,
        ridge: float,
        on_trial: Callable[[Trial], None] | None = None,
    ) -> None:
        self.problem = problem
        self.ridge = ridge
        self.trials: list[Trial] = []
        self.notes: list[str] = []
        self.lowered: list[str] = []
        self._on_trial = on_trial
        self._torch = torch.Generator().manual_seed(int(generator.integers(2**62)))
        learners, held = split_agents(problem.rows, generator)
        rows = problem.rows
        # Of those held out, the rows, and which of them are in the first half of their agent's.
        own = rows_of(rows, held)
        first = first_half(rows.agent[own])
        self.personal = len(learners) > 0
        if self.personal:
            self.train = rows.of_agents(learners)
            self.known = rows.select(own[first]).of_agents(held)
        else:  # too few agents to hold any out: the first half of all, then the rest of all
            self.train = self.known = rows.select(own[first]).of_agents(held)
        self.windows = Windows(problem, held, own[~first].numpy(), generator)
        self._fits: dict[tuple[int, int, float], LowRankFit] = {}
        self._statistics: dict[int, tuple[Monomials, Statistics, Statistics]] = {}

    def choose(self, degree: int | None, rank: int | None, threshold: float | None) -> Choice:
        """The best candidate, with what is given held fixed.

        What is given beyond what the data carry is lowered, and ``lowered`` of the choice says so.

        Raises:
            ValueError: If the data do not carry even the least fit.
            FloatingPointError: If no candidate could be computed.
        """
        best: Trial | None = None
        failures = 0
        if degree is not None and self._most_rank(degree, True)[0] < 1:
            reason = self._most_rank(degree, True)[1]
            self.lowered.append(
                f"degree {degree} was asked for and is left to the choice: {reason}"
            )
            degree = None
        # What is given is reached step by step, too: a fit of high degree or rank that begins with
        # random factors may get stuck, one that goes on from a simpler one does not.
        for tried in _up_to(degree):
            expensive = self.problem.basis_size(tried) > CHEAP
            if degree is None and best is not None and expensive and best.error < EXACT:
                break
            asked = tried == degree or (rank is not None and tried == 1)
            most, reason = self._most_rank(tried, asked)
            if most < 1:
                self.notes.append(f"degree {tried} not tried: {reason}")
                if degree is None:
                    break
                continue
            if rank is not None and most < rank:
                if not asked:
                    self.notes.append(f"degree {tried}, rank {rank} not tried: {reason}")
                    if degree is None:
                        break
                    continue
                self.lowered.append(f"rank {rank} was asked for, rank {most} is fitted: {reason}")
                rank = most
            found = self._best_rank(tried, best, rank, forced=degree is not None)
            if best is None or degree is not None or _better(found, best):
                best, failures = found, 0
            else:
                failures += 1
                if failures == 2 or expensive:
                    break
        if best is None:
            raise ValueError(
                "there are too few transitions for a closed-form fit, even of degree 1: "
                f"{len(self.train)} for {self.problem.basis(1).size} monomials and "
                f"{self.problem.rows.choices} actions; record more, or fit with method='sgd'"
            )
        if rank is None:
            best = self._fewer_ranks(best)
        best = self._pruned(best, threshold)
        if not math.isfinite(best.score):
            raise FloatingPointError(
                "no closed-form fit could be computed: the features are collinear or beyond "
                "double precision; leave out or rescale coordinates, or fit with method='sgd'"
            )
        if not best.stable:
            self.notes.append(
                f"{best.escapes:.0%} of long rollouts leave the recorded range, of every candidate "
                "that was tried: rollouts are to be trusted for few steps"
            )
        self._note_rare_actions(best)
        fit = self._fits[best.degree, best.rank, best.threshold]
        notes = (*dict.fromkeys((*self.lowered, *self.notes)),)
        return Choice(best, fit, tuple(self.trials), notes, tuple(self.lowered))

    def _best_rank(
        self, degree: int, before: Trial | None, rank: int | None, forced: bool
    ) -> Trial:
        """The best rank at a degree, from the best of the degree before on."""
        if rank is not None:
            for tried in range(1, rank) if before is None else ():
                self._try(degree, tried, 0.0)
            return self._try(degree, rank, 0.0)
        begin = 1 if before is None else min(before.rank, self._most_rank(degree, True)[0])
        best = self._try(degree, begin, 0.0)
        if before is not None and not forced and not _better(best, before):
            return best
        misses = 0
        # The first degree looks two ranks beyond a failure: one more can be no use without two.
        patience = PATIENCE if before is None else FURTHER_PATIENCE
        for tried in range(best.rank + 1, MAX_RANK + 1):
            if not (self.personal or self.problem.rows.num_agents > 1):
                break
            most, reason = self._most_rank(degree, asked=False)
            if tried > most:
                self.notes.append(f"degree {degree}, rank {tried} not tried: {reason}")
                break
            found = self._try(degree, tried, 0.0)
            if _better(found, best):
                best, misses = found, 0
            else:
                misses += 1
                if misses >= (patience if best.error < POOR else LAST_PATIENCE):
                    break
        return best

    def _fewer_ranks(self, best: Trial) -> Trial:
        """The least rank that is as good: a lower degree may have needed more."""
        goal = best.score + LOSS
        for rank in range(best.rank - 1, 0, -1):
            if (best.degree, rank, 0.0) in self._fits:
                break
            found = self._try(best.degree, rank, 0.0)
            if found.stable < best.stable or found.score > goal:
                break
            best = found
        return best

    def _pruned(self, best: Trial, threshold: float | None) -> Trial:
        """The shortest model that is as good, or that of the threshold given."""
        whole = best
        for candidate in THRESHOLDS if threshold is None else (threshold,):
            if candidate > 0 and math.isfinite(whole.score):
                pruned = self._try(whole.degree, whole.rank, candidate)
                # A shorter model that is not worse is better: it goes wrong less far out.
                if math.isfinite(pruned.score) and (
                    threshold is not None
                    or (
                        pruned.stable >= best.stable
                        and pruned.score <= best.score + LOSS
                        # Where errors are finer than anybody can use a true term is still one.
                        and pruned.error <= 1.2 * max(whole.error, 0.01 * FINE)
                    )
                ):
                    best = pruned
        return best

    def _note_rare_actions(self, best: Trial) -> None:
        rows = torch.bincount(self.train.choice, minlength=self.train.choices)
        size = self.problem.basis(best.degree).size
        enough, features = carried(rows, size, best.rank)
        for action, (own, few) in enumerate(zip(enough, features, strict=True)):
            if not own:
                differs = f"with {few} terms of its own" if few else "with nothing of its own"
                seen = f"only in {int(rows[action])} transitions" if few else "too rarely, or never"
                self.notes.append(
                    f"action {action} was taken {seen}: it is modelled as the mean of the others, "
                    f"{differs}"
                )

    def _most_rank(self, degree: int, asked: bool) -> tuple[int, str]:
        """The highest rank that the data carry at a degree, and what keeps it from being more."""
        p, rows, have = self.problem.basis_size(degree), self.problem.rows, len(self.train)
        agents = self.train.num_agents + self.known.num_agents
        if p > MAX_MONOMIALS or memory(agents, rows.choices, p) > MEMORY:
            return 0, f"{p} monomials are too many"
        taken = max(1, len(torch.unique(self.train.choice)))
        each = p * taken
        enough = int(have / ((1.0 if asked else ROWS_PER_WEIGHT) * each))
        if enough < 1 and degree == 1 and have >= each:
            enough = 1
        people = self.train.num_agents
        if people <= enough:
            return people, f"of {people} agents there are no more than {people} different factors"
        return enough, f"{have} transitions are too few for more, at {each} weights for each rank"

    def _try(self, degree: int, rank: int, threshold: float) -> Trial:
        monomials, train, known = self._gathered(degree)
        try:
            if threshold:
                start = self._fits[degree, rank, 0.0]
                fit = prune(start, train, threshold, self.ridge, rounds=30)
            else:
                start_ = self._start(degree, rank, train)
                fit = alternate(train, start_, rounds=150, ridge=self.ridge)
            trial = self.judge(monomials, known, fit, degree, threshold)
        except FloatingPointError as error:
            self.notes.append(f"degree {degree}, rank {rank} failed: {error}")
            trial = Trial(degree, rank, threshold, math.inf, math.inf, math.inf, 1.0, 0)
        else:
            self._fits[degree, rank, threshold] = fit
        self.trials.append(trial)
        if self._on_trial is not None:
            self._on_trial(trial)
        return trial

    def judge(
        self,
        monomials: Monomials,
        known: Statistics,
        fit: LowRankFit,
        degree: int,
        threshold: float,
    ) -> Trial:
        """What a fit is worth on the agents held out, of whom ``known`` is known."""
        factors = posterior(known, fit.weights, fit.noise)
        ensemble = self.problem.ensemble(monomials, replace(fit, factors=factors))
        errors = self.windows.errors(ensemble)
        counted = np.maximum(errors, FINE)
        tail = float(np.quantile(counted, 0.9))
        return Trial(
            degree,
            fit.rank,
            threshold,
            0.5 * (float(np.log(counted).mean()) + math.log(tail)),
            float(np.exp(np.log(errors).mean())),
            self.windows.one_step(ensemble),
            self.windows.escapes(ensemble),
            int((fit.weights[0] != 0).sum()),
        )

    def _start(self, degree: int, rank: int, train: Statistics) -> Factors:
        """Factors of the nearest candidate, from which a fit goes on."""
        near = [k for k in self._fits if k[2] == 0.0]
        if not near:
            return first_factors(1, train.num_agents, rank, self._torch, train.square)
        key = min(near, key=lambda k: (abs(k[1] - rank), degree - k[0]))
        fit = self._fits[key]
        if rank < fit.rank and key[0] == degree:  # what matters least is cut
            fit = principal(fit, train)
        return widened(fit.factors, rank, self._torch)

    def _gathered(self, degree: int) -> tuple[Monomials, Statistics, Statistics]:
        if degree not in self._statistics:
            self._statistics.clear()  # one degree after the other: the old ones are not needed
            monomials = self.problem.basis(degree)
            features = self.problem.features(monomials)
            self._statistics[degree] = (
                monomials,
                gather(self.train, features),
                gather(self.known, features),
            )
        return self._statistics[degree]


def _up_to(degree: int | None) -> tuple[int, ...]:
    if degree is None:
        return DEGREES
    return (*(d for d in DEGREES if d < degree), degree)


def _better(one: Trial, other: Trial) -> bool:
    if one.stable != other.stable:
        return one.stable
    return one.score < other.score - GAIN
