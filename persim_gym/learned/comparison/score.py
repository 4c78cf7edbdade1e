"""What candidates are worth on what was held out, and which of them is the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from persim_gym.learned.comparison.holdout import FINE, Errors, Part

#: Steps ahead at which predictions are compared, as far as the stretches are long enough.
HORIZONS = (1, 10, 50)
#: Share of the stretches that must be long enough for a horizon.
ENOUGH = 0.2
#: By how much the logarithm of the error of what goes on sensibly beyond the record, a polynomial,
#: may be larger than that of what does not, a network: inputs that were never given are what
#: simulators are for, and the record cannot judge them. Only a polynomial that is nearly the law
#: goes on as the law does: one whose error, in units of the observations' deviation, is this small.
#: One of up to the next error approximates something else, and runs away: it must be better by as
#: much. With more than that, noise may hide the law.
FURTHER, NEARLY, ROUGHLY = 0.2, 0.001, 0.01
#: Share of long rollouts that may leave the recorded range; by what factor a candidate counts as
#: worse from another share on, and between the two by a part of it.
ESCAPES, STABLE, MANY = 0.05, 4.0, 0.25
#: By which logarithm members may differ more where only other agents were than on an agent's own
#: stretches: polynomials of a high degree, fitted to narrow records, differ by a hundred times.
#: What is beyond counts half: simulators are used on either side, and what errs ten times more on
#: the record is no better because it is sure of itself elsewhere.
DOUBT, BEYOND = 1.5, 0.5


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
        return self.score + BEYOND * max(0.0, self.doubt - DOUBT)

    def to_json(self) -> dict[str, Any]:
        """As plain types, without values that are not finite."""
        plain: dict[str, Any] = {"seconds": self.seconds, "escapes": self.escapes}
        if self.failed:
            return plain | {"failed": self.failed}
        steps = {str(h): [self.median[h], self.ninth_decile[h]] for h in self.median}
        return plain | {"score": self.score, "doubt": self.doubt, "error": steps}


def sensible_steps(parts: Sequence[Part], horizons: Sequence[int]) -> list[int]:
    """The horizons that stretches are long enough for, and the longest that most of them are."""
    if not parts:
        return []
    longest = np.concatenate([part.longest for part in parts])
    most = int(np.median(longest))
    steps = [h for h in horizons if h <= longest.max() and (longest >= h).mean() >= ENOUGH]
    reaches = max(steps, default=0)
    return [*steps, most] if reaches * 1.5 < most < max(horizons) else steps


def score_of(errors: Errors, steps: Sequence[int], away: float, seconds: float) -> Score:
    """The score of what predictions left over.

    Args:
        errors: What they left over, at each of the steps ahead.
        steps: Steps ahead.
        away: Share of long rollouts that leave the recorded range.
        seconds: Of the fits.
    """
    median, tail, logs = {}, {}, []
    for column, horizon in enumerate(steps):
        own = errors.of_agents(column)
        own = own[np.isfinite(own)]
        median[horizon], tail[horizon] = float(np.median(own)), float(np.quantile(own, 0.9))
        logs.append(math.log(max(median[horizon], FINE)) + math.log(max(tail[horizon], FINE)))
    return Score(0.5 * float(np.mean(logs)), median, tail, away, seconds)


def winner_of(scores: Mapping[str, Score], polynomials: Collection[str]) -> str:
    """The best one, with what is unstable counted as worse; of close ones what goes further.

    Args:
        scores: Of the candidates.
        polynomials: Those that go on beyond the record, as the law does or not.
    """
    shares = {n: (own.escapes - ESCAPES) / (MANY - ESCAPES) for n, own in scores.items()}
    worth = {
        name: own.overall + math.log(STABLE) * min(max(shares[name], 0.0), 1.0)
        for name, own in scores.items()
    }
    for name in polynomials:
        if math.log(NEARLY) < scores[name].score <= math.log(ROUGHLY):
            worth[name] += FURTHER
    best = min(worth, key=worth.__getitem__)
    known = [name for name in polynomials if scores[name].score <= math.log(NEARLY)]
    going = min(known, key=worth.__getitem__, default=best)
    return going if worth[going] <= worth[best] + FURTHER else best
