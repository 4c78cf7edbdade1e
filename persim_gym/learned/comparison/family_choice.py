"""An honest choice among fitted candidates, or a mixture of them.

Each is fitted without the last stretch of every agent's record and predicts that stretch open loop,
from several starts and over several horizons. Of short records every part is held out in turn, and
something plain is taken unless another is significantly better. What counts is the middle agent and
the ninth decile alike, in units of the observations' deviation, and how uncertain a candidate is
where only other agents were. Close candidates are mixed if their mean, with weights that these
stretches choose, is better for agents whose stretches had no say in the weights. What was chosen is
then fitted again to all of the record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import (
    Errors,
    Part,
    Predictor,
    Record,
    earlier_end,
    escapes,
    held_out,
)
from persim_gym.learned.comparison.mixing import mixture_of
from persim_gym.learned.comparison.off_support import doubt_off_support
from persim_gym.learned.comparison.score import (
    HORIZONS,
    Score,
    score_of,
    sensible_steps,
    winner_of,
)
from persim_gym.learned.comparison.significance import (
    errors_of_earlier_end,
    is_behind,
    significantly_less,
)

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
        further: Whether it is a polynomial: it goes on sensibly beyond the record if it is nearly
            the law, and runs away if it is not.
        plain: Whether it is so plain that another has to be significantly better.
        slow: Whether it is fitted to further parts only while it predicts each part better than
            what is best of the plain ones.
        like: Name of another that is the same but for how it is fitted: the better one is kept.
        needed: Whether it is tried beside that one, by what that one has made of the parts.
    """

    fit: Callable[[NDArray[np.int64]], Predictor]
    refit: Callable[[Predictor, NDArray[np.int64]], Predictor] | None = None
    further: bool = False
    plain: bool = False
    slow: bool = False
    like: str = ""
    needed: Callable[[Sequence[Predictor]], bool] = lambda _: True

    def again(self, chosen: Predictor, rows: NDArray[np.int64]) -> Predictor:
        """The chosen predictor fitted to all rows."""
        return self.fit(rows) if self.refit is None else self.refit(chosen, rows)


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
    scores, errors, fits = _tried(record, candidates, parts, steps, seed)
    if not errors:
        raise ValueError("no candidate could be fitted: " + next(iter(scores.values())).failed)
    plain = [name for name in errors if candidates[name].plain]
    if set(plain) < set(errors) and _is_clear(scores[name] for name in errors):
        # Noise hides little: what is plain here is near the law only for a few steps.
        errors = {name: found for name, found in errors.items() if name not in plain}
        plain = []
    polynomials = [name for name in errors if candidates[name].further]
    winner = winner_of({name: scores[name] for name in errors}, polynomials)
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
        alike = [name for name in joined if name in polynomials]
        weights = mixture_of(joined, scores, winner, steps, alike)
    failed = {name: score.failed for name, score in scores.items()}
    notes = tuple(
        f"{name} could not be fitted: {why}"
        for name, why in failed.items()
        if why not in ("", BEHIND)
    )
    return Comparison(scores, winner, weights, tuple(steps), fits, notes)


def _tried(
    record: Record,
    candidates: Mapping[str, Candidate],
    parts: Sequence[Part],
    steps: Sequence[int],
    seed: int,
) -> tuple[dict[str, Score], dict[str, list[Errors]], dict[str, list[Predictor]]]:
    """Scores of all that were tried, errors of those that may be taken, and fits, by name."""
    errors: dict[str, list[Errors]] = {}
    scores: dict[str, Score] = {}
    fits: dict[str, list[Predictor]] = {}
    for name in sorted(candidates, key=lambda name: candidates[name].slow):
        like = candidates[name].like
        if like in fits and not candidates[name].needed(fits[like]):
            continue
        plain = [other for other in errors if candidates[other].plain and candidates[name].slow]
        if _is_clear(scores[other] for other in errors):
            plain = []  # none of them will be taken
        best = min(plain, key=lambda other: scores[other].overall, default="")
        found = _Tried.of(candidates[name], errors.get(best, []), parts, record, steps, seed)
        scores[name] = found.score
        if not found.score.failed:
            errors[name], fits[name] = found.errors, found.fits
    pairs = [(own.like, name) for name, own in candidates.items() if {own.like, name} <= {*errors}]
    for pair in pairs:
        del errors[max(pair, key=lambda name: scores[name].overall)]
    scores = {name: scores[name] for name in candidates if name in scores}
    return scores, {name: errors[name] for name in candidates if name in errors}, fits


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
        score = score_of(Errors.joined(errors), steps, away, seconds)
        return cls(replace(score, doubt=doubt), fits, errors)
