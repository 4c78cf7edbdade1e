"""A fitted polynomial made ready for stepping: plain floats for one row, few products for many.

Unrolling many candidates is torch's work. A step of an environment is small: there the calls
themselves cost more than the arithmetic. Weights are therefore put together once: only the
monomials that have a weight, an agent's factors multiplied in, and for a single row the members'
mean and their deviations from it as the columns of one product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.closed_form.basis import SUPPORT
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.compiled_lanes import PolynomialLanes
from persim_gym.learned.compiled_latent import CompiledLatent, compilable
from persim_gym.learned.compiled_network import CompiledNetwork
from persim_gym.learned.compiled_steps import CompiledSteps, Lanes, Row, RowStep
from persim_gym.learned.contrasts import axes
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.networks.ensemble import NetworkEnsemble

#: Share of a change below which what agents have of their own may be rounding.
LITTLE = 1e-4


def compile_ensemble(
    ensemble: Ensemble, unit: NDArray[np.float64], before: CompiledSteps | None = None
) -> CompiledSteps | None:
    """An ensemble made ready for stepping, or ``None`` where that brings nothing.

    Args:
        ensemble: The members.
        unit: Unit of disagreement ``[d]``.
        before: What was made of the same model for other factors: what is the same is kept.
    """
    if ensemble.device.type != "cpu" or ensemble.past:
        return None
    if isinstance(ensemble, PolynomialEnsemble):
        if isinstance(before, CompiledPolynomial) and before.made_of(ensemble):
            return before.with_factors(ensemble)
        return CompiledPolynomial(ensemble, unit)
    if isinstance(ensemble, NetworkEnsemble):
        return CompiledNetwork(ensemble, unit)
    if isinstance(ensemble, FrameEnsemble) and compilable(ensemble):
        return CompiledLatent(ensemble, unit)
    return None


def settle(
    obs: NDArray[np.float64],
    ensemble: Ensemble,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What :meth:`Ensemble.settle` makes of predictions ``[m, d, k]``, in bounds ``[d, 1]``."""
    finite = obs - obs
    if ensemble.effects is not None:
        effects = ensemble.effects.effect.double().numpy()[..., None]  # [e, 3, d, 1]
        for (column, side, bound), effect in zip(ensemble.effects.edges(), effects, strict=True):
            over = side * (obs[:, column : column + 1] - bound)
            if (over > 0).any():
                constant, share, slope = effect
                obs = np.where(over > 0, constant + share * obs + slope * over, obs)
    settled: NDArray[np.float64] = np.minimum(np.maximum(obs, low), high) + finite
    return settled


class CompiledPolynomial(CompiledSteps):
    """Steps of a polynomial ensemble in NumPy, before bounds.

    Args:
        ensemble: On the processor.
        unit: Unit of disagreement ``[d]``.
    """

    def __init__(self, ensemble: PolynomialEnsemble, unit: NDArray[Any]) -> None:
        super().__init__()
        weights = ensemble.weights.double().numpy()
        used = (weights != 0).any(axis=(0, 1, 2, 4))
        monomials, rows = ensemble.monomials.subset(used)
        ordered = rows[monomials.order.order]
        scale = ensemble.scale.double().numpy()
        self._weights = ensemble.weights
        #: [m, A, r, P, d], of the monomials in the order in which they are computed.
        self.weights = weights[:, :, :, ordered] * scale
        self.factors = ensemble.factors.numpy()  # [m, N, r]
        units = ensemble.inputs
        parts = (units.centre, units.scale, units.low, units.high)
        self.units: list[NDArray[np.float64]] = [part.double().numpy() for part in parts]
        self.angles = units.angles
        largest = np.append(self._recorded(), np.ones(len(self.angles)))
        terms = np.prod(largest ** monomials.exponents[monomials.order.order], axis=1)  # [P]
        self._drop_what_rounding_hides(terms, ensemble)
        self.discrete = ensemble.discrete
        self.reach = math.sqrt(weights.shape[0] * len(unit)) * unit
        self.runs = monomials.order.runs
        #: Coordinates that agents have laws of their own for, and those members differ in ``[d]``.
        self.personal = (self.weights[:, :, 1:] != 0).any(axis=(0, 1, 2, 3))
        law = self.weights[:, :, 0] * self.factors[:, 0, 0, None, None, None]  # [m, A, P, d]
        apart = (np.ptp(law, axis=0) * terms[:, None]).sum(axis=1).max(axis=0)
        self.varied = self.personal | (apart > np.finfo(np.float32).eps * unit)
        #: Coordinates with those first that all agents have the same law for.
        self.order: list[int] = np.argsort(self.personal, kind="stable").tolist()
        self.axes = axes(len(weights), self.reach, [c for c in self.order if self.varied[c]])

    def _recorded(self) -> NDArray[np.float64]:
        """The largest scaled inputs that were recorded, about: ``[in]``, of angles 1."""
        _, _, low, high = self.units
        bounded = np.isfinite(low)
        z = np.ones(len(low))
        low, high = low[bounded], high[bounded]
        inward = SUPPORT / (1 + 2 * SUPPORT) * (high - low)
        z[bounded] = np.maximum(np.abs(low + inward), np.abs(high - inward))
        return z

    def _drop_what_rounding_hides(
        self, terms: NDArray[np.float64], ensemble: PolynomialEnsemble
    ) -> None:
        """Leave out what agents have of their own where predictions cannot show it.

        Where a coordinate follows the same law for all agents, a fit leaves something personal
        of the size of rounding. What is below a unit in the last place of the observations, as they
        were recorded, is nothing, where it is little of the change as well: far from zero, slow
        drifts are below that unit, and add up.
        """
        _, _, r, _, d = self.weights.shape
        factors = np.abs(self.factors).max(axis=(0, 1)).astype(np.float64)
        effects = np.abs(self.weights).max(axis=(0, 1)) * terms[:, None] * factors[:, None, None]
        centre, scale, _, _ = self.units
        latest = slice(ensemble.lag * d - d, ensemble.lag * d)
        values = (np.abs(centre) + scale * self._recorded())[latest]
        shared, own = effects[0].sum(axis=0), effects[1:].sum(axis=(0, 1))
        hidden = own < np.minimum(np.finfo(np.float32).eps * values, LITTLE * shared)
        if r > 1:
            self.weights[:, :, 1:, :, hidden] = 0.0

    def made_of(self, ensemble: PolynomialEnsemble) -> bool:
        """Whether these are the weights of an ensemble."""
        return ensemble.weights is self._weights

    def with_factors(self, ensemble: PolynomialEnsemble) -> CompiledPolynomial:
        """The same model for the factors of another ensemble."""
        twin = self._twin()
        twin.factors = ensemble.factors.numpy()
        return twin

    def _row_of(self, agent: int) -> Row:
        m, _, _, _, d = self.weights.shape
        own = np.einsum("marpd,mr->apmd", self.weights, self.factors[:, agent])
        mean = own.mean(axis=2)
        apart = (own - mean[:, :, None]) / self.reach
        # The last observation is part of the mean.
        last = np.zeros((len(own), d, d + m * d))
        last[:, :, :d] = np.eye(d)
        columns = np.concatenate([mean, apart.reshape(*mean.shape[:2], m * d)], axis=2)
        matrices = list(np.ascontiguousarray(np.concatenate([columns, last], axis=1)))
        units = list(zip(*(part.tolist() for part in self.units), strict=True))
        plan = [
            (parent + k, column) for _, parent, length, column in self.runs for k in range(length)
        ]
        angles, discrete, cos, sin = self.angles, self.discrete, math.cos, math.sin
        dot, array, sqrt = np.dot, np.array, math.sqrt

        def step(state: Sequence[float], action: Any) -> RowStep:
            values = state if discrete else [*state, *action]
            z = []
            for x, (centre, scale, low, high) in zip(values, units, strict=True):
                scaled = (x - centre) / scale
                z.append(low if scaled < low else high if scaled > high else scaled)
            for column in angles:  # their centre is 0 and their scale is 1
                z.append(cos(z[column]))
                z[column] = sin(z[column])
            phi = [1.0]
            for parent, column in plan:
                phi.append(phi[parent] * z[column])
            phi += state[-d:]
            out = dot(array(phi), matrices[action if discrete else 0])
            deviations = out[d:]
            return out[:d].tolist(), deviations, sqrt(dot(deviations, deviations))

        return step

    def _lanes_of(self, n: int) -> Lanes:
        return PolynomialLanes(self, n)
