"""Walking over degrees and ranks of a closed form, within a budget.

Degrees and ranks need each other: a law of degree four and rank six may show nothing of itself at
rank two, or at degree two. So every degree goes on from the best rank so far, climbs upward and
downward from there, and one that is no better does not end the search. On the way only the error
counts: whether rollouts stay where the data are is asked of those that are left in the end, for
an unstable candidate may be the way to a stable one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: Degrees in the order in which they are tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10, 12)
MAX_RANK = 12
#: Multiplications that a search may take, on two thirds of a core's second for each 1e9.
BUDGETS = {"quick": 3e9, "default": 1.2e10, "thorough": 3e11}

#: Ranks without a gain after which a degree's upward search ends, and the same where so much of
#: the observations' deviation is still unexplained that something must be missing.
PATIENCE, LAST_PATIENCE, POOR = 2, 4, 0.2
#: Degrees without a gain after which the search ends; a law may be odd or even. Where errors are
#: as small as :data:`EXACT`, one rank without a gain ends the search of a degree.
FAILURES, EXACT = 2, 1e-4
#: Degrees and ranks that are tried beside the way, where the way has ended and something is
#: still missing.
PROBES = ((2, 3), (3, 5), (4, 6), (5, 8))
#: Errors below this, in units of the observations' deviation, count alike: less is of no use.
FINE = 1e-5
#: A more complex candidate must be better by this, in the logarithm of the error: by a seventh.
#: Less is not worth what complexity costs far from the data.
GAIN = 0.15
#: A simpler model may be worse by this.
LOSS = 0.05
#: A stable candidate is taken instead of an unstable one unless its error is this many times it.
STABLE = 10.0
#: Share of long rollouts that may leave the support.
ESCAPES = 0.05


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


class Field(Protocol):
    """What is walked over."""

    def most_rank(self, degree: int, asked: bool = False) -> tuple[int, str]:
        """The highest rank that the data carry at a degree, and what keeps it from being more.

        They carry more where it is asked for, or where a lower degree has needed it.
        """

    def work(self, degree: int, rank: int) -> float:
        """Multiplications that a fit takes."""

    def attempt(self, degree: int, rank: int) -> Trial:
        """Fit and judge; begins from the nearest fit that there is."""


class Walk:
    """A search without anything given.

    Args:
        field: What is walked over.
        effort: ``"quick"``, ``"default"`` or ``"thorough"``.
        on_share: Called with the share of the budget that is spent, where one limits the search.
    """

    def __init__(
        self,
        field: Field,
        effort: str = "default",
        on_share: Callable[[float], None] | None = None,
    ) -> None:
        self.field = field
        self.on_share = on_share
        self.left = BUDGETS[effort]
        self.effort = effort
        self.notes: list[str] = []
        self.ended = ""
        self.forced = False
        self.trials: dict[tuple[int, int], Trial] = {}

    def run(self, degrees: Sequence[int], rank: int | None, *, forced: bool) -> Trial | None:
        """The best candidate: the shortest of those that are hardly worse than the least error.

        Args:
            degrees: Degrees to try.
            rank: The rank, where it is given.
            forced: Whether it must be the last of the degrees; the others are the way to it.

        Returns:
            ``None`` where the data do not carry even the first degree.
        """
        self.forced = forced
        best: Trial | None = None
        failures = 0
        for degree in degrees:
            most, reason = self.field.most_rank(degree)
            if most < 1 or (rank is not None and most < rank):
                what = f"degree {degree}" + (f", rank {rank}" if rank else "")
                self.notes.append(f"{what} not tried: {reason}")
                if forced:
                    continue
                self.ended = f"degree {degree} is more than the data carry"
                break
            found = self._climb(degree, best, rank, most, reason)
            if found is None:
                break
            if best is None or forced or better(found, best):
                best, failures = found, 0
                if finest(best) and not forced:
                    self.ended = f"degree {degree} leaves nothing to gain"
                    break
                continue
            failures += 1
            if failures >= FAILURES:
                self.ended = f"degree {degree} was no better than degree {best.degree}"
                break
        else:
            self.ended = f"degree {degrees[-1]} is the highest that is tried"
        if best is not None and rank is None and not forced and best.error > EXACT:
            self._probe(best)
        return self._shortest(degrees[-1] if forced else None, rank)

    def _climb(
        self, degree: int, before: Trial | None, rank: int | None, most: int, reason: str
    ) -> Trial | None:
        """The best rank of a degree, from the best of the degrees before on."""
        if rank is not None:
            for lower in range(1, rank) if before is None else ():
                self._try(degree, lower)
            return self._try(degree, rank)
        begin = 1
        if before is not None:
            begin = min(before.rank, self.field.most_rank(degree, asked=True)[0])
        best = self._try(degree, begin)
        if best is None:
            return None
        misses = 0
        for tried in range(begin + 1, MAX_RANK + 1):
            if finest(best):
                break
            if tried > most:
                self.notes.append(f"degree {degree}, rank {tried} not tried: {reason}")
                break
            found = self._try(degree, tried)
            if found is None:
                return best
            best, misses = (found, 0) if better(found, best) else (best, misses + 1)
            # Where errors are small already, a higher degree is a shorter way than more ranks.
            patience = 1 if best.error < EXACT else PATIENCE
            if misses >= (patience if best.error < POOR else LAST_PATIENCE):
                break
        for tried in range(begin - 1, 0, -1):
            if best.rank != tried + 1:
                break
            found = self._try(degree, tried)
            if found is None or found.score > best.score + LOSS:
                break
            best = found
        return best

    def _probe(self, best: Trial) -> None:
        """Try where neither a degree nor a rank alone leads, and go on from what is found."""
        for degree, rank in PROBES:
            most, reason = self.field.most_rank(degree)
            if (degree, rank) in self.trials or rank > most:
                continue
            found = self._try(degree, rank)
            if found is None:
                return
            while found is not None and better(found, best):
                best = found
                self.ended = f"degree {degree} is the last that was better"
                found = self._climb(degree, best, None, most, reason)
                degree = next((d for d in DEGREES if d > degree), degree)
                most, reason = self.field.most_rank(degree)
                if found is not None and better(best, found):
                    found = best
                found = self._climb(degree, found, None, most, reason) if most else None

    def _try(self, degree: int, rank: int) -> Trial | None:
        if (degree, rank) in self.trials:
            return self.trials[degree, rank]
        work = self.field.work(degree, rank)
        if self.trials and work > self.left and not self.forced:
            self.ended = (
                f"effort {self.effort!r} was spent before degree {degree}, rank {rank}: a higher "
                "effort searches further"
            )
            return None
        self.left -= work
        found = self.trials[degree, rank] = self.field.attempt(degree, rank)
        if self.on_share is not None and not self.forced and self.left > 0:
            self.on_share(1 - self.left / BUDGETS[self.effort])
        return found

    def _shortest(self, degree: int | None, rank: int | None) -> Trial | None:
        """Of all that was tried, not of the path alone, which depends on the last bits."""
        tried = [
            trial
            for trial in self.trials.values()
            if degree in (None, trial.degree) and rank in (None, trial.rank)
        ]
        if not tried:
            return None
        least = min(trial.score for trial in tried)
        near = [t for t in tried if t.score <= least + GAIN or t.score == least]
        return min(near, key=lambda t: (t.terms, t.score))


def better(one: Trial, other: Trial) -> bool:
    """Whether a candidate is worth more than a simpler one."""
    return one.score < other.score - GAIN


def finest(trial: Trial) -> bool:
    """Whether nothing could be better."""
    return trial.stable and trial.score <= math.log(FINE) + GAIN


def settled(finals: Sequence[Trial]) -> Trial:
    """The best of the candidates that are left: a stable one, unless it is much worse."""
    best = min(finals, key=lambda t: t.score)
    stable = [t for t in finals if t.stable]
    if not stable:
        return best
    safe = min(stable, key=lambda t: t.score)
    return safe if safe.score <= best.score + math.log(STABLE) else best
