"""References of libraries: gradient boosting of scikit-learn, and PySINDy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .references import Reference, Windows
from .world import Floats

#: Agents up to which boosting may take the agent as a category, which has at most 255.
CATEGORIES = 250
#: Thresholds of which PySINDy's optimiser chooses on late steps, and agents by whom it does.
THRESHOLDS, JUDGES = (0.001, 0.01, 0.1), 20


class Boosting(Reference):
    """Histogram gradient boosting, a model a coordinate, with the agent as one more input."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        from sklearn.ensemble import HistGradientBoostingRegressor

        inputs = self._inputs(windows.agents, windows.inputs)
        column = [inputs.shape[1] - 1] if windows.num_agents <= CATEGORIES else None
        self.models = []
        for target in windows.targets.T:
            model = HistGradientBoostingRegressor(
                categorical_features=column, max_iter=200, random_state=0
            )
            self.models.append(model.fit(inputs, target))

    @staticmethod
    def _inputs(agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return np.concatenate([inputs, agents[:, None]], axis=1)

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        rows = self._inputs(agents, inputs)
        return np.stack([model.predict(rows) for model in self.models], axis=1)


class PooledSindy(Reference):
    """PySINDy with a quadratic library: one sparse law for all agents."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        import pysindy

        self.library = pysindy.PolynomialLibrary(degree=2)
        self.library.fit(windows.inputs[:2])
        losses = [self._loss(threshold) for threshold in THRESHOLDS]
        best = THRESHOLDS[int(np.argmin(losses))]
        self.weights = self._weights(best, np.ones_like(windows.late), windows.num_agents)

    def _loss(self, threshold: float) -> float:
        w = self.windows
        weights = self._weights(threshold, ~w.late, JUDGES)
        rows = np.flatnonzero(w.late & (w.agents < JUDGES))
        guess = self._evaluated(weights, w.agents[rows], w.inputs[rows])
        return float(np.square(w.targets[rows] - guess).sum())

    def _weights(self, threshold: float, rows: NDArray[np.bool_], agents: int) -> Floats:
        """Coefficients of the law for all ``[1, d, F]``."""
        return self._law(threshold, rows)[None]

    def _law(self, threshold: float, rows: NDArray[np.bool_]) -> Floats:
        import pysindy

        w = self.windows
        optimiser = pysindy.STLSQ(threshold=threshold, alpha=1e-4)
        features = np.asarray(self.library.transform(w.inputs[rows]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a threshold that leaves nothing is a choice, too
            optimiser.fit(features, w.targets[rows])
        return np.asarray(optimiser.coef_, dtype=np.float64)

    def _evaluated(self, weights: Floats, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        features = np.asarray(self.library.transform(inputs))
        own: Any = (
            weights[agents]
            if len(weights) > 1
            else np.broadcast_to(weights, (len(agents), *weights.shape[1:]))
        )
        return np.einsum("nf,ndf->nd", features, own)

    def change(self, agents: NDArray[np.int64], inputs: Floats) -> Floats:
        return self._evaluated(self.weights, agents, inputs)


class OwnSindy(PooledSindy):
    """PySINDy of each agent alone."""

    def _weights(self, threshold: float, rows: NDArray[np.bool_], agents: int) -> Floats:
        w = self.windows
        size = self.library.n_output_features_
        weights = np.zeros((w.num_agents, len(w.unit), size))
        for agent in range(min(agents, w.num_agents)):
            own = rows & (w.agents == agent)
            if own.any():
                weights[agent] = self._law(threshold, own)
        return weights
