"""Simulators to be written, and what they say of some rows."""

from __future__ import annotations

from typing import Any

from persim_gym.learned import PerSim
from persim_gym.learned.export.rows import example_rows
from tests.learned.worlds import PlainTask, random_walks

#: Families, and options of a fit of a moment.
FAMILIES: dict[str, dict[str, Any]] = {
    "als": {},
    "sgd": {"epochs": 1},
    "hierarchical": {},
    "latent": {"first_steps": 20, "steps": 20, "window_steps": 0, "hidden": (8,), "latent": 2},
}


def fit(name: str, **options: Any) -> PerSim:
    """A simulator of random walks by a family."""
    task = PlainTask.of(2, actions=3)
    return PerSim.fit(
        random_walks(task), task=task, method=name, ensemble_size=2, progress=False, **options
    )


def expected_of(sim: PerSim, n: int) -> tuple[list[Any], Any]:
    """Rows, and every member's next observations."""
    rows = example_rows(sim, n)
    return [row.numpy() for row in rows], sim.ensemble.step(*rows).numpy()
