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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.basis import Inputs, Monomials
from persim_gym.learned.closed_form import (
    LowRankFit,
    alternate,
    contributions,
    first_factors,
    posterior,
    widened,
)
from persim_gym.learned.polynomial_ensemble import PolynomialEnsemble
from persim_gym.learned.statistics import Rows, Statistics, gather, memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Transitions and agents that a choice looks at.
TRANSITIONS, AGENTS = 40_000, 400
#: Bytes of statistics that a candidate may take.
MEMORY = 1_000_000_000
#: Steps of an open-loop prediction, and of a rollout that tests stability.
HORIZON, LONG = 25, 200
WINDOWS_PER_AGENT = 4
#: Degrees in the order in which they are tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10, 12)
MAX_RANK = 12
MAX_MONOMIALS = 400
#: Transitions for each weight of one coordinate below which a candidate is not tried.
ROWS_PER_WEIGHT = 3.0
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
THRESHOLDS = (1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything of the data that a closed-form fit sees.

    Attributes:
        rows: The transitions, targets in units of ``scale``.
        episode: Episode of each ``[T]``.
        states: States ``[T, in]``; actions ``[T]`` or ``[T, a]``.
        actions: Actions as recorded.
        next_obs: Observations after them ``[T, d]``.
        inputs: Units of the basis's inputs.
        scale: Deviation of the changes ``[d]``.
        spread: Deviation of the observations ``[d]``: the unit of errors.
        low: Lower bounds of the observation space ``[d]``.
        high: Upper bounds ``[d]``.
        support: Recorded range of observations, widened ``[2, d]``.
        discrete: Whether actions are discrete.
        lag: Observations that a state holds.
        terminated: The task's test of next observations.
    """

    rows: Rows
    episode: Tensor
    states: Tensor
    actions: Tensor
    next_obs: Tensor
    inputs: Inputs
    scale: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor
    support: Tensor
    discrete: bool
    lag: int
    terminated: Callable[[Any], Any]

    def basis(self, degree: int) -> Monomials:
        """Monomials up to a degree; cosines of angles to the first power."""
        plain = len(self.inputs.centre)
        return Monomials.up_to(degree, self.inputs.size, range(plain, self.inputs.size))

    def features(self, monomials: Monomials) -> Callable[[Tensor], Tensor]:
        """Inputs ``[n, in]`` -> monomials ``[P, n]``."""
        return lambda values: monomials(self.inputs(values))

    def ensemble(self, monomials: Monomials, fit: LowRankFit) -> PolynomialEnsemble:
        """A fit as a transition function."""
        return PolynomialEnsemble(
            self.inputs,
            monomials,
            fit.weights,
            fit.factors.mean,
            self.scale,
            self.low,
            self.high,
            discrete=self.discrete,
            lag=self.lag,
        )


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
        notes: What was chosen down, and why.
    """

    best: Trial
    fit: LowRankFit
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]


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
        self._on_trial = on_trial
        self._torch = torch.Generator().manual_seed(int(generator.integers(2**62)))
        learners, held = _split_agents(problem.rows, generator)
        rows = problem.rows
        first = _first_half(rows.agent)
        self.personal = len(learners) > 0
        if self.personal:
            self.train = rows.of_agents(learners)
            self.known = rows.select(first).of_agents(held)
        else:  # too few agents to hold any out: the first half of all, then the rest of all
            self.train = self.known = rows.select(first).of_agents(held)
        self.windows = _Windows(problem, held, ~first, generator)
        self._fits: dict[tuple[int, int, float], LowRankFit] = {}
        self._statistics: dict[int, tuple[Monomials, Statistics, Statistics]] = {}

    def choose(self, degree: int | None, rank: int | None, threshold: float | None) -> Choice:
        """The best candidate, with what is given held fixed.

        Raises:
            ValueError: If the data do not carry what is given.
        """
        best: Trial | None = None
        failures = 0
        # What is given is reached step by step, too: a fit of high degree or rank that begins with
        # random factors may get stuck, one that goes on from a simpler one does not.
        for tried in _up_to(degree):
            expensive = self.problem.basis(tried).size > CHEAP
            if degree is None and best is not None and expensive and best.error < EXACT:
                break
            given = tried == degree or (rank is not None and tried == 1)
            if not self._carries(tried, rank or 1, given):
                if degree is None:
                    break
                continue
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
        for candidate in THRESHOLDS if threshold is None else (threshold,):
            if candidate > 0:
                pruned = self._try(best.degree, best.rank, candidate)
                # A shorter model that is not worse is better: it goes wrong less far out.
                if threshold is not None or (
                    pruned.stable >= best.stable and pruned.score <= best.score + LOSS
                ):
                    best = pruned
        fit = self._fits[best.degree, best.rank, best.threshold]
        return Choice(best, fit, tuple(self.trials), tuple(self.notes))

    def _best_rank(
        self, degree: int, before: Trial | None, rank: int | None, forced: bool
    ) -> Trial:
        """The best rank at a degree, from the best of the degree before on."""
        if rank is not None:
            for tried in range(1, rank) if before is None else ():
                self._try(degree, tried, 0.0)
            return self._try(degree, rank, 0.0)
        best = self._try(degree, 1 if before is None else before.rank, 0.0)
        if before is not None and not forced and not _better(best, before):
            return best
        misses = 0
        # The first degree looks two ranks beyond a failure: one more can be no use without two.
        patience = 2 if before is None else 1
        for tried in range(best.rank + 1, MAX_RANK + 1):
            if not (self.personal or self.problem.rows.num_agents > 1):
                break
            if tried > self.train.num_agents or not self._carries(degree, tried, given=False):
                break
            found = self._try(degree, tried, 0.0)
            if _better(found, best):
                best, misses = found, 0
            else:
                misses += 1
                if misses == patience:
                    break
        return best

    def _carries(self, degree: int, rank: int, given: bool) -> bool:
        """Whether there are data for a candidate."""
        p, rows = self.problem.basis(degree).size, self.problem.rows
        agents = self.train.num_agents + self.known.num_agents
        weights = p * rank * rows.choices
        reason = ""
        if p > MAX_MONOMIALS or memory(agents, rows.choices, p) > MEMORY:
            reason = f"{p} monomials are too many"
        elif len(self.train) < ROWS_PER_WEIGHT * weights and not (given or degree == rank == 1):
            reason = f"{len(self.train)} transitions are too few for {weights} weights"
        elif len(self.train) < weights:
            reason = f"{len(self.train)} transitions are fewer than {weights} weights"
        if not reason:
            return True
        if given:
            raise ValueError(
                f"degree {degree} with rank {rank} cannot be fitted: {reason}; choose a lower "
                "degree or rank, or leave the choice to the fit"
            )
        self.notes.append(f"degree {degree}, rank {rank} not tried: {reason}")
        return False

    def _try(self, degree: int, rank: int, threshold: float) -> Trial:
        monomials, train, known = self._gathered(degree)
        key = (degree, rank, threshold)
        if threshold:
            start = self._fits[degree, rank, 0.0]
            fit = prune(start, train, threshold, self.ridge, rounds=30)
        else:
            fit = alternate(train, self._start(degree, rank, train), rounds=150, ridge=self.ridge)
        self._fits[key] = fit
        factors = posterior(known, fit.weights, fit.noise)
        ensemble = self.problem.ensemble(monomials, replace(fit, factors=factors))
        errors = self.windows.errors(ensemble)
        counted = np.maximum(errors, FINE)
        tail = float(np.quantile(counted, 0.9))
        trial = Trial(
            degree,
            rank,
            threshold,
            0.5 * (float(np.log(counted).mean()) + math.log(tail)),
            float(np.exp(np.log(errors).mean())),
            self.windows.one_step(ensemble),
            self.windows.escapes(ensemble),
            int((fit.weights[0] != 0).sum()),
        )
        self.trials.append(trial)
        if self._on_trial is not None:
            self._on_trial(trial)
        return trial

    def _start(self, degree: int, rank: int, train: Statistics) -> Any:
        """Factors of the nearest candidate, from which a fit goes on."""
        near = [k for k in self._fits if k[2] == 0.0]
        if not near:
            return first_factors(1, train.num_agents, rank, self._torch, train.square)
        key = min(near, key=lambda k: (abs(k[1] - rank), degree - k[0]))
        return widened(self._fits[key].factors, rank, self._torch)

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


def prune(
    fit: LowRankFit,
    stats: Statistics,
    threshold: float,
    ridge: float,
    *,
    rounds: int,
    importance: Tensor | None = None,
) -> LowRankFit:
    """Drop what hardly moves predictions and fit the rest again, in two steps.

    Args:
        fit: A fit.
        stats: What it was fitted on.
        threshold: Least contribution, see
            :func:`~persim_gym.learned.closed_form.contributions`.
        ridge: As in :func:`~persim_gym.learned.closed_form.regress`.
        rounds: Most rounds of each step.
        importance: As there.
    """
    mask = torch.ones_like(fit.weights[0, :, 0], dtype=torch.bool)
    for share in (0.3, 1.0):
        mask = mask & (contributions(fit, stats).amax(0) >= share * threshold)
        fit = alternate(
            stats, fit.factors, rounds=rounds, mask=mask, ridge=ridge, importance=importance
        )
    return fit


def _up_to(degree: int | None) -> tuple[int, ...]:
    if degree is None:
        return DEGREES
    return (*(d for d in DEGREES if d < degree), degree)


def _better(one: Trial, other: Trial) -> bool:
    if one.stable != other.stable:
        return one.stable
    return one.score < other.score - GAIN


def _split_agents(rows: Rows, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Agents that weights are fitted on, and agents held out, among those with transitions."""
    count = torch.bincount(rows.agent, minlength=rows.num_agents).numpy()
    usable = rng.permutation(np.flatnonzero(count >= 2))
    if len(usable) < 10:
        return torch.zeros(0, dtype=torch.long), torch.as_tensor(np.sort(usable))
    within = np.cumsum(count[usable]) <= TRANSITIONS
    usable = usable[: max(10, min(AGENTS, int(within.sum())))]
    held = max(2, min(60, len(usable) // 5))
    return torch.as_tensor(np.sort(usable[held:])), torch.as_tensor(np.sort(usable[:held]))


def _first_half(agent: Tensor) -> Tensor:
    """Whether a transition is in the first half of its agent's, which stand in order of time."""
    order = torch.argsort(agent, stable=True)
    count = torch.bincount(agent)
    first = torch.cumsum(count, 0) - count
    place = torch.empty_like(order)
    place[order] = torch.arange(len(agent)) - first[agent[order]]
    return place < (count[agent] + 1) // 2


class _Windows:
    """Stretches of held-out agents' records, to be predicted open loop."""

    def __init__(
        self, problem: Problem, held: Tensor, rest: Tensor, rng: np.random.Generator
    ) -> None:
        self.problem = problem
        place = np.full(problem.rows.num_agents, -1)
        place[held.numpy()] = np.arange(len(held))
        agent, episode = problem.rows.agent.numpy(), problem.episode.numpy()
        left = _steps_left(episode)
        usable = rest.numpy() & (place[agent] >= 0)
        starts = []
        for number in held.tolist():
            rows = np.flatnonzero(usable & (agent == number))
            if len(rows) == 0:
                continue
            wanted = np.linspace(0, len(rows) - 1, WINDOWS_PER_AGENT + 1)[:-1].astype(int)
            starts.append(np.unique(rows[wanted]))
        self.start = np.concatenate(starts) if starts else np.zeros(0, dtype=int)
        if len(self.start) == 0:
            raise ValueError("no agent has two transitions: there is nothing to choose a fit by")
        self.length = np.minimum(left[self.start], HORIZON)
        self.agent = torch.as_tensor(place[agent[self.start]])
        self.owner = agent[self.start]
        steps = np.minimum(np.arange(HORIZON), self.length[:, None] - 1)
        rows_ = torch.as_tensor(self.start[:, None] + steps)
        self.rows = rows_
        self.actions = problem.actions[rows_]
        self.truth = problem.next_obs[rows_]
        self.valid = torch.as_tensor(np.arange(HORIZON) < self.length[:, None])
        self.states = problem.states[torch.as_tensor(self.start)]
        drawn = rng.integers(0, len(agent), size=(len(self.start), LONG))
        self.long_actions = problem.actions[torch.as_tensor(drawn)]

    def errors(self, ensemble: PolynomialEnsemble) -> NDArray[np.float64]:
        """Open-loop error of each held-out agent, in units of the observations' deviation."""
        unrolled = ensemble.unroll(self.agent, self.states, self.actions[:, None])
        predicted = torch.stack([obs[0, :, 0] for obs in unrolled], dim=1)
        left = ((predicted - self.truth) / self.problem.spread).square().mean(-1)
        left = torch.nan_to_num(left, nan=1e6, posinf=1e6).clamp(1e-14, 1e6)
        own = np.asarray(((left * self.valid).sum(1) / self.valid.sum(1)).sqrt())
        sums = np.bincount(self.owner, weights=own)
        counts = np.bincount(self.owner)
        return sums[counts > 0] / counts[counts > 0]

    def one_step(self, ensemble: PolynomialEnsemble) -> float:
        """Root mean square error of single steps, in the data's units."""
        h = self.rows.shape[1]
        agent = self.agent[:, None].expand(-1, h).flatten()
        states = self.problem.states[self.rows].flatten(0, 1)
        predicted = ensemble.settle(ensemble.step(agent, states, self.actions.flatten(0, 1)))[0]
        left = (predicted.view_as(self.truth) - self.truth).square()[self.valid]
        return float(left.mean().sqrt())

    def escapes(self, ensemble: PolynomialEnsemble) -> float:
        """Share of long rollouts that leave the support before their episode ends."""
        problem = self.problem
        over = torch.zeros(len(self.start), dtype=torch.bool)
        escaped = over.clone()
        low, high = problem.support
        for obs in ensemble.unroll(self.agent, self.states, self.long_actions[:, None]):
            now = obs[0, :, 0]
            outside = ((now < low) | (now > high)).any(-1) | ~torch.isfinite(now).all(-1)
            escaped |= outside & ~over
            over |= outside | torch.as_tensor(problem.terminated(now), dtype=torch.bool)
        return float(escaped.double().mean())


def _steps_left(episode: NDArray[np.int64]) -> NDArray[np.int64]:
    """Transitions from each one to its episode's end, itself included."""
    ends = np.flatnonzero(np.append(episode[1:] != episode[:-1], True))
    rows = np.arange(len(episode))
    return np.asarray(ends[np.searchsorted(ends, rows)] + 1 - rows)
