"""An honest choice among fitted candidates, or a mixture of them.

Candidates of any kind are compared as they will be used: each is fitted without the last stretch of
every agent's record and predicts that stretch open loop, from several starts and over several
horizons. Where records are short, so that a last stretch would say little, every part of them is
held out in turn, and something plain is taken unless another is significantly better. What counts
is the middle agent and the ninth decile alike, in units of the observations' deviation, and how
much less sure a candidate is of an agent where only others were. Close candidates are mixed: their
predictions are averaged with weights that these stretches choose, if the mixture is better for
agents whose stretches had no say in them. What was chosen is then fitted again to all of the
record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.holdout import (
    FINE,
    Errors,
    Part,
    Predictor,
    Record,
    earlier_end,
    escapes,
    held_out,
)
from persim_gym.learned.off_support import doubt_off_support
from persim_gym.learned.significance import errors_of_earlier_end, is_behind, significantly_less
from persim_gym.learned.simplex import simplex_least_squares

#: Steps ahead at which predictions are compared, as far as the stretches are long enough.
HORIZONS = (1, 10, 50)
#: Share of the stretches that must be long enough for a horizon.
ENOUGH = 0.2
#: Candidates whose error is within this factor of the best's may take part in a mixture, and the
#: logarithm of the error that one must gain.
CLOSE, GAIN = 2.0, 0.03
#: Weight in a mixture up to which a candidate is left out: fitting it costs as much as any.
SMALL = 0.1
#: By how much the logarithm of the error of what goes on sensibly beyond the record, a polynomial,
#: may be larger than that of what does not, a network: inputs that were never given are what
#: simulators are for, and the record cannot judge them. Only a polynomial that is nearly the law
#: goes on as the law does: one whose error, in units of the observations' deviation, is this small.
FURTHER, NEARLY = 0.2, 0.01
#: Share of long rollouts that may leave the recorded range, and by what factor a candidate that
#: stays there may be worse.
ESCAPES, STABLE = 0.05, 4.0
#: By which logarithm members may differ more where only other agents were than on an agent's own
#: stretches: polynomials of a high degree, fitted to narrow records, differ by a hundred times.
DOUBT = 1.5
#: By how much the logarithm of the error of something plain may be larger, if that is not sure; and
#: the best error, in units of the observations' deviation, below which nothing plain is taken.
PLAIN, CLEAR = 0.3, 0.03
#: Why a slow candidate is not fitted to all parts.
BEHIND = "not compared on all parts of the records: a linear model predicts one of them better"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way of fitting.

    Attributes:
        fit: Rows of the record, ascending, to a predictor.
        refit: The predictor that was chosen and all rows to the one that is used: with the settings
            of the first held fixed. By default ``fit`` of all rows.
        further: Whether it goes on sensibly beyond the record if it is nearly the law.
        plain: Whether it is so plain that another has to be significantly better.
        slow: Whether it is fitted to further parts only while it predicts each part better than
            what is best of the plain ones.
    """

    fit: Callable[[NDArray[np.int64]], Predictor]
    refit: Callable[[Predictor, NDArray[np.int64]], Predictor] | None = None
    further: bool = False
    plain: bool = False
    slow: bool = False

    def again(self, chosen: Predictor, rows: NDArray[np.int64]) -> Predictor:
        """The chosen predictor fitted to all rows."""
        return self.fit(rows) if self.refit is None else self.refit(chosen, rows)


@dataclass(frozen=True, slots=True)
class Score:
    """What a candidate was worth.

    Attributes:
        score: Half the log of the median agent's error and half that of the ninth decile, mean
            over horizons.
        median: Of the agents' errors at each horizon, in units.
        ninth_decile: The same of the ninth decile.
        escapes: Share of long rollouts, from where any agent was, that leave the recorded range.
        seconds: Of the fits.
        failed: Why it is not compared; empty where it is.
        doubt: By which logarithm members differ more where other agents were.
    """

    score: float
    median: dict[int, float] = field(default_factory=dict)
    ninth_decile: dict[int, float] = field(default_factory=dict)
    escapes: float = 0.0
    seconds: float = 0.0
    failed: str = ""
    doubt: float = 0.0

    @property
    def overall(self) -> float:
        """What counts: the score, and what doubt elsewhere is beyond the usual."""
        return self.score + max(0.0, self.doubt - DOUBT)

    def to_json(self) -> dict[str, Any]:
        """As plain types, without values that are not finite."""
        plain: dict[str, Any] = {"seconds": self.seconds, "escapes": self.escapes}
        if self.failed:
            return plain | {"failed": self.failed}
        steps = {str(h): [self.median[h], self.ninth_decile[h]] for h in self.median}
        return plain | {"score": self.score, "doubt": self.doubt, "error": steps}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        scores: Of every candidate, and of ``"mixture"`` where one was tried.
        winner: The best single candidate.
        weights: Of the candidates in what is to be used, those of the others left out; one weight
            where it is the winner alone.
        horizons: Steps ahead that were compared.
        fits: The predictors of each part that was held out, by candidate.
        notes: What could not be compared, and why.
    """

    scores: dict[str, Score]
    winner: str
    weights: dict[str, float]
    horizons: tuple[int, ...]
    fits: dict[str, list[Predictor]]
    notes: tuple[str, ...] = ()

    def refit(self, candidates: Mapping[str, Candidate], rows: int) -> dict[str, Predictor]:
        """What is to be used, fitted to all ``rows`` of the record, by candidate."""
        everything = np.arange(rows)
        return {n: candidates[n].again(self.fitted[n], everything) for n in self.weights}

    @property
    def fitted(self) -> dict[str, Predictor]:
        """The predictors of the first part, by candidate."""
        return {name: own[0] for name, own in self.fits.items()}


def compare(
    record: Record,
    candidates: Mapping[str, Candidate],
    *,
    horizons: Sequence[int] = HORIZONS,
    mix: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare candidates, as they will be used.

    Args:
        record: The data.
        candidates: By name, the simplest first: of equals the first is taken.
        horizons: Steps ahead.
        mix: Whether close candidates may be mixed.
        seed: Chooses agents, where there are very many, and the rollouts that test stability.

    Raises:
        ValueError: If there is no candidate, none could be fitted, or nothing can be held out.
    """
    if not candidates:
        raise ValueError("there is no candidate to compare")
    rng = np.random.default_rng([seed, 7])
    parts = held_out(record, rng)
    steps = sensible_steps(parts, horizons)
    if not steps:
        raise ValueError(
            "no agent has two transitions: there is nothing to compare candidates by; record more "
            "of each agent, or choose a method"
        )
    errors: dict[str, list[Errors]] = {}
    scores: dict[str, Score] = {}
    fits: dict[str, list[Predictor]] = {}
    for name in sorted(candidates, key=lambda name: candidates[name].slow):
        plain = [other for other in errors if candidates[other].plain and candidates[name].slow]
        if _is_clear(scores[other] for other in errors):
            plain = []  # none of them will be taken
        best = min(plain, key=lambda other: scores[other].overall, default="")
        found = _Tried.of(candidates[name], errors.get(best, []), parts, record, steps, seed)
        scores[name] = found.score
        if not found.score.failed:
            errors[name], fits[name] = found.errors, found.fits
    scores = {name: scores[name] for name in candidates}
    errors = {name: errors[name] for name in candidates if name in errors}
    if not errors:
        raise ValueError("no candidate could be fitted: " + next(iter(scores.values())).failed)
    further = {
        name
        for name, candidate in candidates.items()
        if candidate.further and scores[name].score <= math.log(NEARLY)
    }
    plain = [name for name in errors if candidates[name].plain]
    if set(plain) < set(errors) and _is_clear(scores[name] for name in errors):
        # Noise hides little: what is plain here is near the law only for a few steps.
        errors = {name: found for name, found in errors.items() if name not in plain}
        further, plain = further & set(errors), []
    winner = _winner({name: scores[name] for name in errors}, further)
    best = min(plain, key=lambda name: scores[name].overall, default=winner)
    near = scores[best].overall <= scores[winner].overall + PLAIN
    if winner not in plain and plain and near:
        early = earlier_end(record, np.random.default_rng([seed, 7]))
        pair = [
            errors[name] + errors_of_earlier_end(candidates[name].fit, early, record, steps)
            for name in (winner, best)
        ]
        winner = winner if significantly_less(*pair) else best
    weights = {winner: 1.0}
    if mix:
        likes = plain if winner in plain else errors
        joined = {name: Errors.joined(errors[name]) for name in likes}
        weights = _mixed(joined, scores, winner, steps, further)
    failed = {name: score.failed for name, score in scores.items()}
    notes = tuple(
        f"{name} could not be fitted: {why}"
        for name, why in failed.items()
        if why not in ("", BEHIND)
    )
    return Comparison(scores, winner, weights, tuple(steps), fits, notes)


def _is_clear(scores: Iterable[Score]) -> bool:
    """Whether noise hides so little that nothing plain is taken."""
    return min((own.score for own in scores), default=math.inf) <= math.log(CLEAR)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of a candidate: its score, and its fit and errors of each part."""

    score: Score
    fits: list[Predictor]
    errors: list[Errors]

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        rival: Sequence[Errors],
        parts: Sequence[Part],
        record: Record,
        steps: Sequence[int],
        seed: int,
    ) -> _Tried:
        """Fit it to each part, as long as a rival predicts none of them better."""
        began = time.perf_counter()
        fits: list[Predictor] = []
        errors: list[Errors] = []
        failed = ""
        try:
            for part in parts:
                if errors and rival and is_behind(errors, rival, PLAIN):
                    failed = BEHIND
                    break
                fits.append(candidate.fit(part.rows))
                errors.append(Errors.of(fits[-1], part, record, steps))
            else:
                away = escapes(fits[0], record, np.random.default_rng([seed, 8]))
                again = np.random.default_rng([seed, 9])
                doubt = doubt_off_support(fits[0], parts[0], record, steps, again)
        except (ValueError, FloatingPointError) as error:
            failed = str(error)
        seconds = time.perf_counter() - began
        if failed:
            return cls(Score(math.inf, seconds=seconds, failed=failed), fits, errors)
        score = _score(Errors.joined(errors), steps, away, seconds)
        return cls(replace(score, doubt=doubt), fits, errors)


def sensible_steps(parts: Sequence[Part], horizons: Sequence[int]) -> list[int]:
    """The horizons that stretches are long enough for, and the longest that most of them are."""
    if not parts:
        return []
    longest = np.concatenate([part.longest for part in parts])
    most = int(np.median(longest))
    steps = [h for h in horizons if h <= longest.max() and (longest >= h).mean() >= ENOUGH]
    reaches = max(steps, default=0)
    return [*steps, most] if reaches * 1.5 < most < max(horizons) else steps


def _score(errors: Errors, steps: Sequence[int], away: float, seconds: float) -> Score:
    median, tail, logs = {}, {}, []
    for column, horizon in enumerate(steps):
        own = errors.of_agents(column)
        own = own[np.isfinite(own)]
        median[horizon], tail[horizon] = float(np.median(own)), float(np.quantile(own, 0.9))
        logs.append(math.log(max(median[horizon], FINE)) + math.log(max(tail[horizon], FINE)))
    return Score(0.5 * float(np.mean(logs)), median, tail, away, seconds)


def _winner(scores: Mapping[str, Score], further: Collection[str]) -> str:
    """The best one; a stable one, unless it is much worse, and of close ones what goes further."""
    best = min(scores, key=lambda name: scores[name].overall)
    stable = [name for name in scores if scores[name].escapes <= ESCAPES]
    if best not in stable and stable:
        safe = min(stable, key=lambda name: scores[name].overall)
        best = safe if scores[safe].overall <= scores[best].overall + math.log(STABLE) else best
    known = [n for n in (stable if best in stable else scores) if n in further]
    going = min(known, key=lambda name: scores[name].overall, default=best)
    return going if scores[going].overall <= scores[best].overall + FURTHER else best


def _mixed(
    errors: Mapping[str, Errors],
    scores: dict[str, Score],
    winner: str,
    steps: Sequence[int],
    further: Collection[str],
) -> dict[str, float]:
    """Weights of a convex mixture, or of the winner alone where that is as good."""
    if winner in further and not set(errors) <= set(further):
        # Networks have a part beside it only if they are worth what they do beyond the record.
        together = _mixed(errors, scores, winner, steps, ())
        mixed = scores.get("mixture")
        if mixed is not None and mixed.overall <= scores[winner].overall - FURTHER:
            return together
        scores.pop("mixture", None)
        errors = {name: own for name, own in errors.items() if name in further}
    most = scores[winner].overall + math.log(CLOSE)
    safe = scores[winner].escapes <= ESCAPES
    close = [
        name
        for name in errors
        if scores[name].overall <= most and (not safe or scores[name].escapes <= ESCAPES)
    ]
    if len(close) < 2:
        return {winner: 1.0}
    group = errors[winner].agent % 2
    if len(np.unique(group)) < 2:
        return {winner: 1.0}
    # Weights from the one half of the agents are judged by the other half.
    crossed = np.zeros_like(errors[winner].left)
    for half in (0, 1):
        weights = _stacked([errors[name] for name in close], group == half, steps)
        mixture = sum(w * errors[n].left for w, n in zip(weights, close, strict=True))
        crossed[group != half] = np.asarray(mixture)[group != half]
    judged = Errors(crossed, errors[winner].valid, errors[winner].agent)
    seconds = sum(scores[name].seconds for name in close)
    away = max(scores[name].escapes for name in close)
    weights = _stacked([errors[name] for name in close], group >= 0, steps)
    kept = {name: float(w) for name, w in zip(close, weights, strict=True) if w > SMALL}
    mixture = _score(judged, steps, away, seconds)
    # Where other agents were, it is as doubtful as its most doubtful part.
    scores["mixture"] = replace(mixture, doubt=max(scores[name].doubt for name in kept))
    if scores["mixture"].overall > scores[winner].overall - GAIN:
        return {winner: 1.0}
    total = sum(kept.values())
    return {name: weight / total for name, weight in kept.items()}


def _stacked(
    errors: Sequence[Errors], rows: NDArray[np.bool_], steps: Sequence[int]
) -> NDArray[np.float64]:
    """Weights, none negative and one together, that make the squared error least.

    Every agent and horizon counts in units of what its best candidate leaves: the least squares of
    plain errors would be those of the few worst agents.
    """
    gram = np.zeros((len(errors), len(errors)))
    for column in range(len(steps)):
        # Agents with too short a record have no error, and no valid rows.
        least = np.fmin.reduce([own.of_agents(column) for own in errors])
        valid = rows & errors[0].valid[:, column]
        unit = np.maximum(least[errors[0].agent[valid]], FINE)[:, None]
        left = np.stack([own.left[valid, column] / unit for own in errors])
        left = np.clip(left, -10.0, 10.0).reshape(len(errors), -1)
        if left.shape[1]:
            gram += left @ left.T / left.shape[1]
    return simplex_least_squares(gram)
