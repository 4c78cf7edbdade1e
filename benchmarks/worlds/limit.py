"""What can be known in ``switch`` at best: the law and the population given, agents by Bayes' rule.

python -m benchmarks.worlds.limit

An agent whose record never passes its threshold shows neither the threshold nor the slope. The mean
over all that its record allows has the least expected squared error that any method can have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cells import Cell
from .recording import Recording, Tests, record
from .score import BEHAVIOURS, HORIZONS, errors, middle_and_tail
from .world import Floats

#: Draws from the population, and change beyond the action's by which a record shows the slope.
DRAWS, SHOWN = 4000, 1e-5


def allowed(
    obs: Floats, change: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds and slopes that a record without noise allows.

    Args:
        obs: Levels ``[t]``.
        change: Their changes without the action's share ``[t]``.
        rng: Draws from the population.
    """
    threshold, slope = rng.uniform(-1, 1, 200 * DRAWS), rng.uniform(0.5, 5, 200 * DRAWS)
    shown = change < -SHOWN
    fall = -change[shown] / 0.1  # slope * (level - threshold)
    if shown.sum() > 1:
        line = np.polyfit(obs[shown], fall, 1)
        return np.array([-line[1] / line[0]]), np.array([line[0]])
    if shown.any():
        threshold = obs[shown][0] - fall[0] / slope
    still = obs[~shown].max(initial=-np.inf)
    kept = (threshold >= still) & (np.abs(threshold) <= 1)
    return threshold[kept][:DRAWS], slope[kept][:DRAWS]


def predictions(recording: Recording, tests: Tests) -> Floats:
    """The mean over what each agent's record allows ``[n, h, 1]``."""
    data, rng = recording.transitions, np.random.default_rng([recording.seed, 7])
    found = np.zeros_like(tests.truth)
    for agent in np.unique(tests.agents):
        rows = data.agent == agent
        obs = data.obs[rows, 0].astype(np.float64)
        acted = np.asarray(data.action[rows], np.float64).reshape(len(obs))
        change = data.next_obs[rows, 0] - obs - 0.1 * acted
        threshold, slope = allowed(obs, change, rng)
        own = {"threshold": threshold, "slope": slope}
        for row in np.flatnonzero(tests.agents == agent):
            level = np.full((len(slope), 1), tests.past[row, -1, 0])
            for step, action in enumerate(tests.actions[row]):
                acts = np.broadcast_to(np.ravel(action), (len(slope), 1))
                level = recording.world.step(level, acts, own)
                found[row, step] = level.mean()
    return found


def main() -> None:
    print("| agents | behaviour |", " | ".join(f"{h}" for h in HORIZONS), "|")
    print("| --- | --- |" + " ---: |" * len(HORIZONS))
    for agents in (30, 100, 500):
        recording = record(Cell("switch", agents))
        for behaviour in BEHAVIOURS:
            tests = recording.tests[behaviour]
            found = errors(recording, tests, predictions(recording, tests))
            shown = (middle_and_tail(found[str(horizon)]) for horizon in HORIZONS)
            print(
                f"| {agents} | {behaviour} |",
                " | ".join(f"{m:.4f} ({t:.4f})" for m, t in shown),
                "|",
            )


if __name__ == "__main__":
    main()
