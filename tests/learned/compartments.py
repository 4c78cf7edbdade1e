"""Patients of known truth in a table: a drug is given, and a share of what is there stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from persim_gym.learned import PerSim

NAMES = ("alice", "bob", "carol", "dan", "eve", "fay")
KEPT = np.linspace(0.5, 0.8, len(NAMES))
COLUMNS: dict[str, Any] = {
    "agent": "who", "time": "t", "state": ["level"], "action": ["dose"], "reward": "gain",
}  # fmt: skip
MOST = 3.0
#: The reward of the table, as an expression.
GAIN = "-(next.level - 5)**2 - 0.1*dose"


class Compartments:
    """The truth, as a dynamics: ``level' = kept * level + dose``."""

    lag = 1
    num_agents = len(NAMES)

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        kept = KEPT[np.asarray(agents)][:, None]
        return np.asarray(kept * np.asarray(states) + np.asarray(actions), dtype=np.float64)


def table(
    names: tuple[str, ...] = NAMES, kept: Any = KEPT, steps: int = 30, seed: int = 0
) -> pd.DataFrame:
    """Rows of all patients under random doses."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, share in zip(names, kept, strict=True):
        level = rng.uniform(2.0, 8.0)
        for t in range(steps):
            dose = rng.uniform(0.0, MOST)
            after = share * level + dose
            rows.append((name, t, level, dose, -((after - 5.0) ** 2) - 0.1 * dose))
            level = after
    return pd.DataFrame(rows, columns=["who", "t", "level", "dose", "gain"])


def fitted(path: Path, out: Path | None = None, **columns: Any) -> PerSim:
    """A simulator of the table that is written to ``path``."""
    table().to_csv(path, index=False)
    options: dict[str, Any] = {
        "method": "als", "degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 2,
    }  # fmt: skip
    used = {key: value for key, value in (COLUMNS | columns).items() if value is not None}
    return PerSim.fit(path, columns=used, progress=False, out=out, **options)
