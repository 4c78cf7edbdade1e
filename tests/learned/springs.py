"""Springs of the agents' own, pushed at random, as a noisy table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from persim_gym.learned import PerSim

Floats = NDArray[np.float64]
AGENTS, STEPS = 60, 100


def spring(x: Floats, own: Floats) -> Floats:
    """How a state changes by itself: of degree 1, wherever it is asked."""
    return -own * x


def after(x: Floats, u: Floats, own: Floats, law: Callable[[Floats, Floats], Floats]) -> Floats:
    """The next state, without noise."""
    return x + law(x, own) + 0.3 * u


def recorded(
    noise: Callable[[Floats], Any], law: Callable[[Floats, Floats], Floats] = spring
) -> tuple[pd.DataFrame, Floats]:
    """A record with noise of a size that may depend on the state, and what is the agents' own."""
    rng = np.random.default_rng(3)
    own = rng.uniform(0.15, 0.45, AGENTS)
    x, rows = rng.normal(0, 0.3, AGENTS), []
    for time in range(STEPS):
        u = rng.uniform(-1, 1, AGENTS)
        rows.append(pd.DataFrame({"agent": range(AGENTS), "time": time, "x": x, "u": u}))
        x = after(x, u, own, law)
        x = x + noise(x) * rng.normal(size=AGENTS)
    return pd.concat(rows), own


def fitted(table: pd.DataFrame, method: str, **options: Any) -> PerSim:
    """A simulator of such a record."""
    columns = {"agent": "agent", "time": "time", "state": ["x"], "action": ["u"]}
    return PerSim.fit(table, columns=columns, method=method, progress=False, **options)
