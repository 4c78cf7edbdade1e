"""Which values of a table are none: a faulty sensor's, and outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.tables.causes import caused
from persim_gym.offline.tables.circles import off_circles
from persim_gym.offline.tables.glitches import glitches
from persim_gym.offline.tables.outliers import FEWEST, SHARE, outliers
from persim_gym.offline.tables.turns import full_turns, unwrapped

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: By how much what was before outliers has to be unlike what is before other rows, in standard
#: deviations: where noise is small, more of them are found, which is no cause.
UNLIKE = 0.5


@dataclass(frozen=True)
class Strange:
    """Values that are left out.

    Attributes:
        glitches: Those that leap away and back ``[n, d]``.
        outliers: Those that contradict the rows before and after them, or the circle that all other
            rows lie on ``[n, d]``.
    """

    glitches: Flags
    outliers: Flags

    @classmethod
    def of(
        cls,
        values: Floats,
        follows: Flags,
        actions: Floats,
        time: Floats,
        agent: NDArray[np.int64],
        turns: Sequence[tuple[int, float]],
        declared: Sequence[bool],
    ) -> Strange:
        """Find them.

        Args:
            values: State columns, agent after agent in the order of time ``[n, d]``; nan where
                there is none.
            follows: Whether each row but the first follows the one before it ``[n - 1]``.
            actions: Numbers of the action that was taken in each row ``[n, a]``; nan where there
                is none.
            time: When each row was ``[n]``.
            agent: Whose it is ``[n]``.
            turns: Columns that are declared as angles, each with a full turn; what else is wrapped
                into one of the usual ranges is found.
            declared: Columns of which all values count as they are ``[d]``.
        """
        free = ~np.asarray(declared, dtype=np.bool_)
        turn = full_turns(values, follows, turns)
        leaps = glitches(values, follows, actions, time) & free
        if leaps[:, turn > 0].any():  # over the end of a range and back is no leap
            leaps &= glitches(unwrapped(values, turn), follows, actions, time)
        far = outliers(values, follows, actions, agent, turn) | off_circles(values, follows)
        far &= free & ~leaps
        known = np.where(leaps, np.nan, values)
        far &= ~caused(far, known, follows, actions, time, UNLIKE)
        if far.any(axis=1).sum() < max(FEWEST, SHARE * len(values)):
            far[:] = False
        return cls(leaps, far)

    @cached_property
    def rows(self) -> Flags:
        """Rows with such a value ``[n]``."""
        return np.asarray((self.glitches | self.outliers).any(axis=1))


def counted(flags: Flags, names: Sequence[str]) -> dict[str, int]:
    """How many values there are of each column that has any."""
    return {name: int(n) for name, n in zip(names, flags.sum(axis=0), strict=True) if n}


def by_agent(flags: Flags, agent: NDArray[np.int64], names: Sequence[str]) -> dict[str, int]:
    """How many values ``[n, d]`` there are of each agent that has any, the most first."""
    each = np.bincount(agent, flags.sum(axis=1), minlength=len(names)).astype(np.int64)
    order = np.argsort(-each, kind="stable")
    return {str(names[k]): int(each[k]) for k in order if each[k]}
