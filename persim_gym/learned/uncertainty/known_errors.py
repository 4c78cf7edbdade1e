"""From errors of a record to those of new episodes, by what two fits say.

A fit takes up some of the noise of its own record. Over a long stretch this is most of what the
noise adds up to: what is left of fitted stretches is then too small by about as much as errors of
new episodes are larger. Stretches that a fit has not seen say so, but they are short. What two
fits differ in new episodes says it as far ahead as is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.uncertainty.intervals import Floats, Unseen

#: Share, on a log scale, of errors of what was not fitted beside errors of what was: of a like fit,
#: of one with fewer members, and of that where the members' deviation predicts errors. The
#: deviation of two members is one difference: errors in units of it have much heavier tails than in
#: units of the final members' deviation.
SEEN, SEEN_FEWER, SEEN_TORN = 1.0, 0.6, 0.3
#: Share of a squared gap that is the fits', and not the chance of the fewer members of one of them.
FEWER = 0.7
#: Least share of a squared gap that counts: of a like fit, and of one with fewer members.
OWN, OWN_FEWER = 0.5, 0.2
#: Least share of the data that counts as kept from a fit.
LEAST = 0.1
#: Most that a gap counts as growing beyond the steps that were held out.
FURTHER = 3.0
#: How much wider a gap may make intervals than errors of what had not been seen.
MOST = 5.0


@dataclass(frozen=True, slots=True)
class Less:
    """How a fit has seen less than another one.

    Attributes:
        fewer: Whether it has fewer members.
        missing: Share of the data that was kept from it.
    """

    fewer: bool
    missing: float

    @classmethod
    def than(cls, ensemble: Ensemble, unseen: Unseen, rows: int) -> Less:
        """Than an ensemble that was fitted to so many rows."""
        missing = max(len(unseen.rows) / rows, LEAST)
        return cls(unseen.ensemble.members < ensemble.members, missing)


@dataclass(frozen=True, slots=True)
class KnownErrors:
    """What a record says of errors.

    Attributes:
        fitted: Quantiles of errors of what had been seen ``[H, d, L]``.
        times: How much larger they were of what had not been ``[H, d, 1]``.
        longest: Steps ahead that were held out; 0 for none.
        torn: Whether the members' deviation predicts errors.
    """

    fitted: Floats
    times: Floats
    longest: int
    torn: bool

    def at(self, places: NDArray[np.int64]) -> KnownErrors:
        """The same at some of the numbers of steps."""
        return replace(self, fitted=self.fitted[places], times=self.times[places])

    def elsewhere(self, steps: list[int], gaps: Floats, less: Less) -> Floats:
        """Quantiles of errors in new episodes ``[H, d, L]``: the larger of two estimates.

        One is of errors of what had not been seen. Beyond the steps that were held out, the square
        by which they are larger than fitted ones grows as the gap's does.

        The other is of the gap. Where noise is the cause, the square of what a fit is off goes as
        one over the data. The squared gap to a fit of fewer data is then a known share of it: a
        fifth without a sixth of them, half without a third. Where errors of what had not been seen
        are larger by more than that, they say the share.

        Args:
            steps: Steps ahead ``[H]``.
            gaps: Quantiles of the gap between two fits ``[H, d, L]``.
            less: How the other fit has seen less.
        """
        share = SEEN
        if less.fewer:
            share = SEEN_TORN if self.torn else SEEN_FEWER
        squares = np.square(self.fitted)
        larger = squares * (self.times ** (2 * share) - 1)
        held = sum(h <= self.longest for h in steps)
        if held:
            further = gaps[held:] / np.maximum(gaps[held - 1], 1e-9)
            larger[held:] *= np.square(np.clip(further, 1.0, FURTHER))
        worse = np.maximum(self.times[:1] * self.times, 1 / (1 - less.missing))
        share_of_gap = np.maximum(1 / (worse - 1), OWN_FEWER if less.fewer else OWN)
        off = (FEWER if less.fewer else 1.0) * share_of_gap * np.square(gaps)
        found = np.sqrt(squares + np.maximum(larger, off))
        return np.asarray(np.minimum(found, MOST * self.times * self.fitted))
