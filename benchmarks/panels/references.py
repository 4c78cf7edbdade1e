"""What one writes first for a panel: no change, a trend, and linear regressions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.worlds.references import Persistence, Reference, ShrunkQuadratic, Windows
from benchmarks.worlds.world import Floats


class Trend(Reference):
    """Each agent's own mean change."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        member = np.eye(windows.num_agents)[windows.agents]
        count = np.maximum(member.sum(axis=0), 1.0)
        self.means = (member.T @ windows.targets) / count[:, None]

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return np.asarray(self.means[agents])


class FixedEffects(Reference):
    """One linear regression for all agents, with an intercept of each (econometrics' "within").

    An intercept counts a single observation against itself, so that one of few does not run away.
    """

    OWN = True

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        features = self._features(windows.agents, windows.inputs)
        ridge = np.full(features.shape[1], 1e-6 * len(features))
        ridge[: windows.num_agents if self.OWN else 0] = 1.0
        gram = features.T @ features + np.diag(ridge)
        self.weights = np.linalg.solve(gram, features.T @ windows.targets)

    def _features(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        own = np.eye(self.windows.num_agents)[agents] if self.OWN else np.ones((len(agents), 1))
        return np.concatenate([own, inputs], axis=1)

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return np.asarray(self._features(agents, inputs) @ self.weights)


class Pooled(FixedEffects):
    """One linear regression for all agents."""

    OWN = False


REFERENCES: dict[str, tuple[type[Reference], int]] = {
    "persistence": (Persistence, 1),
    "trend": (Trend, 1),
    "linear": (Pooled, 1),
    "linear, lag 2": (Pooled, 2),
    "fixed effects": (FixedEffects, 1),
    "fixed effects, lag 2": (FixedEffects, 2),
    "shrunk quadratic": (ShrunkQuadratic, 1),
}
