"""Patients in a table: a week a row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.evaluation.validation.worlds import patients

COLUMNS = (
    "--agent-column", "who", "--time-column", "week", "--state", "glucose,weight",
    "--action", "dose",
)  # fmt: skip


FIT = ("--method", "hierarchical", "--degree", "1", "--ensemble-size", "1")


def frame(agents: int = 8, steps: int = 40, noise: float = 0.2) -> pd.DataFrame:
    data = patients(agents, steps, noise=noise)
    names = np.array(data.agent_names)[data.agent]
    columns = {"who": names, "week": data.step, "glucose": data.obs[:, 0]}
    return pd.DataFrame(columns | {"weight": data.obs[:, 1], "dose": data.action[:, 0]})
