"""Choosing degree, rank and threshold of a closed-form fit, from the data alone.

Some agents are held out. The weights are fitted without them; their factors are fitted to the
first half of what was recorded of them; and the rest is predicted, open loop. What a candidate is
worth is the geometric mean over these agents of that error, and its upper tail counts as much as
its middle. Of the candidates that are left in the end one is refused whose long rollouts leave the
data's support, unless every other is much worse.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from persim_gym.learned.closed_form.agent_sums import Statistics, gather, memory
from persim_gym.learned.closed_form.alternation import (
    LowRankFit,
    alternate,
    first_factors,
    principal,
    widened,
)
from persim_gym.learned.closed_form.basis import Monomials
from persim_gym.learned.closed_form.factors import Factors, posterior
from persim_gym.learned.closed_form.heldout import Windows, first_half, rows_of, split_agents
from persim_gym.learned.closed_form.problem import MAX_MONOMIALS, Problem
from persim_gym.learned.closed_form.pruning import prune
from persim_gym.learned.closed_form.search import DEGREES, FINE, LOSS, Trial, Walk, settled
from persim_gym.learned.closed_form.weights import ROWS_PER_WEIGHT, carried

#: Bytes of statistics that a candidate may take.
MEMORY = 1_000_000_000
#: Monomials above which a degree is expensive: a finer fit does not go beyond them.
CHEAP = 60
#: Stable candidates that are pruned, too, where the best one is not stable.
OTHERS = 2
#: Share of the changes' variance that may be left of what is taken for the law itself.
LAW = 1e-6
#: Rounds that a fit takes about, and multiplications that judging it costs about.
ROUNDS, JUDGING = 60, 1e8
#: Thresholds of pruning that are tried, in units of a change's deviation.
THRESHOLDS = (1e-6, 1e-5, 1e-4, 1e-3)
#: More of them where so much of the changes' variance is left: noise hides what terms are worth.
HIDDEN, NOISY = (1e-2, 3e-2), 1e-3


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
        on_trial: Called after each candidate.
        on_share: Called with the share of the search's budget that is spent, at its end with 1.
    """

    def __init__(
        self,
        problem: Problem,
        generator: np.random.Generator,
        *,
        ridge: float,
        on_trial: Callable[[Trial], None] | None = None,
        on_share: Callable[[float], None] | None = None,
    ) -> None:
        self.problem = problem
        self.ridge = ridge
        self.trials: list[Trial] = []
        self.notes: list[str] = []
        self.lowered: list[str] = []
        self._on_trial, self._on_share = on_trial, on_share
        self._asked: tuple[int | None, int | None] = None, None
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

    def choose(
        self,
        degree: int | None,
        rank: int | None,
        threshold: float | None,
        effort: str = "default",
    ) -> Choice:
        """The best candidate, with what is given held fixed.

        What is given beyond what the data carry is lowered, and ``lowered`` of the choice says so.

        Raises:
            ValueError: If the data do not carry even the least fit.
            FloatingPointError: If no candidate could be computed.
        """
        began = time.perf_counter()
        degree, rank = self._possible(degree, rank)
        self._asked = degree, rank
        walk = Walk(self, effort, self._on_share)
        # What is given is reached step by step, too: a fit of high degree or rank that begins with
        # random factors may get stuck, one that goes on from a simpler one does not.
        best = walk.run(_up_to(degree), rank, forced=degree is not None)
        self.notes += walk.notes
        if best is None:
            raise ValueError(
                "there are too few transitions for a closed-form fit, even of degree 1: "
                f"{len(self.train)} for {self.problem.basis(1).size} monomials and "
                f"{self.problem.rows.choices} actions; record more, or fit with method='sgd'"
            )
        if rank is None:
            best = self._fewer_ranks(best)
        finals = [self._pruned(best, threshold)]
        if degree is None and not finals[0].stable:
            finals += [self._pruned(t, threshold) for t in self._others(best, walk)]
        best = settled(finals)
        if not math.isfinite(best.score):
            raise FloatingPointError(
                "no closed-form fit could be computed: the data are beyond double precision; "
                "leave out or rescale coordinates, or fit with method='sgd'"
            )
        if self._on_share is not None:
            self._on_share(1.0)
        self._note_rare_actions(best)
        self._note_search(best, walk.ended, time.perf_counter() - began)
        fit = self._fits[best.degree, best.rank, best.threshold]
        notes = (*dict.fromkeys((*self.lowered, *self.notes)),)
        return Choice(best, fit, tuple(self.trials), notes, tuple(self.lowered))

    def _possible(self, degree: int | None, rank: int | None) -> tuple[int | None, int | None]:
        """What was asked for, as far as the data carry it."""
        self._asked = degree, rank
        if degree is not None and self.most_rank(degree)[0] < 1:
            reason = self.most_rank(degree)[1]
            self.lowered.append(
                f"degree {degree} was asked for and is left to the choice: {reason}"
            )
            degree = None
        self._asked = degree, rank
        most, reason = self.most_rank(degree or 1)
        if rank is not None and 1 <= most < rank:
            self.lowered.append(f"rank {rank} was asked for, rank {most} is fitted: {reason}")
            rank = most
        return degree, rank

    @staticmethod
    def _others(best: Trial, walk: Walk) -> list[Trial]:
        """The best stable candidates, where the very best one is not."""
        stable = [trial for trial in walk.trials.values() if trial.stable and trial is not best]
        return sorted(stable, key=lambda trial: trial.score)[:OTHERS]

    def _fewer_ranks(self, best: Trial) -> Trial:
        """The least rank that is as good: a lower degree may have needed more."""
        goal = best.score + LOSS
        for rank in range(best.rank - 1, 0, -1):
            if (best.degree, rank, 0.0) in self._fits:
                break
            found = self.attempt(best.degree, rank)
            if found.score > goal:
                break
            best = found
        return best

    def _pruned(self, best: Trial, threshold: float | None) -> Trial:
        """The shortest model that is as good, or that of the threshold given."""
        whole = best
        fit = self._fits.get((best.degree, best.rank, 0.0))
        noisy = fit is not None and float(fit.noise.mean()) > NOISY
        tried = THRESHOLDS + (HIDDEN if noisy else ())
        for candidate in tried if threshold is None else (threshold,):
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

    def _note_search(self, best: Trial, ended: str, seconds: float) -> None:
        """What was tried, and why no more."""
        if not best.stable:
            self.notes.append(
                f"{best.escapes:.0%} of long rollouts leave the recorded range, of every candidate "
                "that was tried: rollouts are to be trusted for few steps"
            )
        if ended:
            self.notes.append(f"{len(self.trials)} candidates; {ended}")

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

    def most_rank(self, degree: int, asked: bool = False) -> tuple[int, str]:
        """The highest rank that the data carry at a degree, and what keeps it from being more."""
        rows, have = self.problem.rows, len(self.train)
        agents = self.train.num_agents + self.known.num_agents
        p = self.problem.basis_size(degree)
        if p <= MAX_MONOMIALS and memory(agents, rows.choices, p) <= MEMORY:
            p = self.problem.basis(degree).size
        else:
            return 0, f"{p} monomials are too many"
        asked |= degree == (self._asked[0] or (1 if self._asked[1] else None))
        taken = max(1, len(torch.unique(self.train.choice)))
        each = p * taken
        enough = int(have / ((1.0 if asked else ROWS_PER_WEIGHT) * each))
        if enough < 1 and degree == 1 and have >= each:
            enough = 1
        number = self.train.num_agents
        if number <= enough:
            return number, f"of {number} agents there are no more than {number} different factors"
        return enough, f"{have} transitions are too few for more, at {each} weights for each rank"

    def work(self, degree: int, rank: int) -> float:
        """Multiplications that a fit takes about."""
        p, choices = self.problem.basis(degree).size, self.problem.rows.choices
        sums = self.train.num_agents * rank * (rank + 1) * p * (p + 1) / 2
        return ROUNDS * choices * (sums + (rank * p) ** 3) + JUDGING

    def attempt(self, degree: int, rank: int) -> Trial:
        """Fit and judge without pruning, from the nearest fit that there is."""
        return self._try(degree, rank, 0.0)

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
            self.windows.escapes(ensemble, float(fit.noise.mean()) <= LAW),
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
