"""What a simulator remembers of the data that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Experience:
    """What a simulator remembers of its data, to know where it can be trusted.

    Attributes:
        low: Smallest recorded value of each coordinate ``[d]``.
        high: Largest recorded value ``[d]``.
        change_scale: Deviation of the recorded differences ``[d]``: the unit of disagreement.
        starts: The recorded trajectories' first observations ``[E, d]``.
        disagreement_limit: Disagreement that held-out transitions almost never reach.
        seen: Agents of whom there are transitions ``[N]``; ``None`` for all.
        pasts: Of a model with a lag: recorded states ``[k, l * w]``, those first that begin an
            episode whose past is known.
        action_low: Least actions of the fit ``[w]``: of each coordinate, or a column for each
            discrete action, which is 1 in ``action_high`` where it was taken.
        action_high: Largest actions ``[w]``.
        own_low: Least actions of each agent ``[N, w]``; infinite where there are none.
        own_high: Largest actions of each agent ``[N, w]``.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    change_scale: NDArray[np.float32]
    starts: NDArray[np.float32]
    disagreement_limit: float
    seen: NDArray[np.bool_] | None = None
    pasts: NDArray[np.float32] | None = None
    action_low: NDArray[np.float32] | None = None
    action_high: NDArray[np.float32] | None = None
    own_low: NDArray[np.float32] | None = None
    own_high: NDArray[np.float32] | None = None
