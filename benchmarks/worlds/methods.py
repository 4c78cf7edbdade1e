"""What stands in the table: PerSim, and the references by name."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from persim_gym.learned import PerSim

from .cells import Cell
from .coverage import coverage, states_of
from .libraries import Boosting, OwnSindy, PooledSindy
from .recording import Recording, Tests, record
from .references import (
    Embedding,
    OwnQuadratic,
    Persistence,
    PooledQuadratic,
    Reference,
    ShrunkQuadratic,
    Windows,
    windows_of,
)
from .score import BEHAVIOURS, errors
from .world import Floats

PERSIM = "persim"
REFERENCES: dict[str, Callable[[Windows], Reference]] = {
    "persistence": Persistence,
    "pooled-quadratic": PooledQuadratic,
    "own-quadratic": OwnQuadratic,
    "shrunk-quadratic": ShrunkQuadratic,
    "mlp": Embedding,
    "boosting": Boosting,
    "sindy-pooled": PooledSindy,
    "sindy-own": OwnSindy,
}
#: The library that a reference needs.
NEEDS = {"boosting": "sklearn", "sindy-pooled": "pysindy", "sindy-own": "pysindy"}


def row_of(cell: Cell, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fit one method on a cell's data and score it.

    Args:
        cell: The cell.
        method: ``"persim"``, or a name of :data:`REFERENCES`.
        options: Arguments of ``PerSim.fit`` that are not its defaults.

    Returns:
        Plain types: seconds of the fit, by the clock and of the processor, errors of each tested
        agent by behaviour and horizon, what a method says of itself, and of PerSim how often its
        intervals hold what comes; or why it failed.
    """
    recording = record(cell)
    clocks = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {"cell": cell.name, "method": method}
    try:
        if method == PERSIM:
            rollout, covered, remarks = _persim(recording, options)
        else:
            rollout = REFERENCES[method](windows_of(recording)).rollout
            covered, remarks = None, {}
        found |= remarks
        found["seconds"] = time.perf_counter() - clocks[0]
        found["processor_seconds"] = time.process_time() - clocks[1]
        with np.errstate(all="ignore"):
            found["errors"] = {
                label: errors(recording, recording.tests[label], rollout(recording.tests[label]))
                for label in BEHAVIOURS
            }
            if covered is not None:
                found["coverage"] = covered()
    except Exception as error:  # a method that fails is a result, and no reason to stop the table
        found["failed"] = f"{type(error).__name__}: {error}"
    return found


def _persim(
    recording: Recording, options: Mapping[str, Any]
) -> tuple[Callable[[Tests], Floats], Callable[[], dict[str, Any]], dict[str, Any]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sim = PerSim.fit(recording.table, columns=recording.columns, progress=False, **options)
    remarks = {
        "fitted_by": sim.card["fitted_by"],
        "metrics": {k: v for k, v in sim.card["metrics"].items() if k != "trials"},
        "warnings": [str(warning.message) for warning in caught],
    }

    def rollout(tests: Tests) -> Floats:
        members = sim.rollout(tests.agents, states_of(sim, tests), tests.actions)
        return np.asarray(members, dtype=np.float64).mean(axis=0)

    return rollout, partial(coverage, sim, recording), remarks
