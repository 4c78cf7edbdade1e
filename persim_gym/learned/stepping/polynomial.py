"""A fitted polynomial made ready for stepping: plain floats for one row, few products for many.

Unrolling many candidates is torch's work. A step of an environment is small: there the calls
themselves cost more than the arithmetic. Weights are therefore put together once: only the
monomials that have a weight, an agent's factors multiplied in, and for a single row the members'
mean and their deviations from it as the columns of one product. Many rows are worked out in the
same memory again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.closed_form.basis import SUPPORT
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.stepping.contrasts import axes, turn
from persim_gym.learned.stepping.lane_calls import Floats, product
from persim_gym.learned.stepping.steps import CompiledSteps, Lanes, LaneStep, Row, RowStep

#: Share of a change below which what agents have of their own may be rounding.
LITTLE = 1e-4
#: Terms, for each factor, up to which rows have weights of their own. Of more a product with the
#: weights that all agents share is quicker, though factors are then multiplied in at every step.
OWN_TERMS = 8
#: Weights up to which a matrix library's call costs more than their products one by one.
FEW = 40
#: Numbers, at the most, that such weights of a coordinate may be: what a processor's cache does not
#: hold is slower to read than to work out.
OWN_NUMBERS = 1 << 18


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


@dataclass(slots=True)
class _Part:
    """What some coordinates change by, of given agents.

    Weights are of one of three kinds: those that all rows share, those of each row, and those that
    factors are yet to be multiplied into.

    Attributes:
        coordinates: Which ``[c]``.
        weights: All agents' ``[m, A, r, t, c]``.
        place: Where their mean changes and contrasts go ``[k, n]``.
        picked: Their monomials ``[A, t, n]``.
        index: Where these stand among those of all parts, unless they are there already ``[t]``.
        shared: ``[k, A, t]``.
        own: ``[k, A, t, n]``, of a single coordinate.
        by_factor: ``[m * r, A * t]``, of a single coordinate.
        turn: What then makes of members their mean and contrasts ``[m, m]``.
    """

    coordinates: list[int]
    weights: NDArray[np.float64]
    place: Floats
    picked: Floats
    index: NDArray[np.int64] | None
    shared: Floats | None = None
    own: Floats | None = None
    by_factor: Floats | None = None
    turn: Floats | None = None


class PolynomialLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while.

    Of discrete actions each but the first has monomials of its own, which are 0 in the rows that
    take another, and weights that are the difference from the first: what an action does is then
    part of the same product for all rows.
    """

    def __init__(self, compiled: CompiledPolynomial, n: int) -> None:
        m, choices, _, _, d = compiled.weights.shape
        self.compiled, self.n, self.choices = compiled, n, choices
        self.agents: bytes | None = None
        self.turn = turn(m, compiled.reach)
        self.inputs = _Inputs(compiled, n)
        self.weights = compiled.weights.copy()
        self.weights[:, 1:] -= self.weights[:, :1]
        self.which = np.arange(1, choices)[:, None, None]
        self.taken = np.ones((choices - 1, 1, n), dtype=np.float32)
        # The mean change of each coordinate, and its contrasts where members differ.
        order = compiled.order
        sizes = np.where(compiled.varied, m, 1)[order]
        ends = np.cumsum(sizes)
        self.out = np.empty((ends[-1], n), dtype=np.float32)
        self.rows = {c: slice(e - k, e) for c, k, e in zip(order, sizes, ends, strict=True)}
        self.first = np.array([self.rows[coordinate].start for coordinate in range(d)])
        self.rest = np.setdiff1d(np.arange(ends[-1]), self.first)
        self.mean = np.empty((d, n), dtype=np.float32)
        self.contrasts = np.empty((len(self.rest), n), dtype=np.float32)
        self.exact = np.empty((2, 0))
        self.parts: list[_Part] = []
        self.plans: dict[bool, tuple[Floats, NDArray[np.int64], list[_Part]]] = {}

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        phi = self.inputs(states, actions)
        phi.take(self.terms, axis=0, out=self.picked, mode="clip")
        if self.choices > 1:
            np.copyto(self.taken, actions == self.which)
            np.multiply(self.picked, self.taken, out=self.acted[1:])
        for part in self.parts:
            if part.index is not None:
                self.acted.take(part.index, axis=1, out=part.picked, mode="clip")
            if part.own is not None:
                np.einsum("atn,katn->kn", part.picked, part.own, out=part.place)
            elif part.shared is None:
                self._by_factor(part)
            else:
                weights = part.shared.reshape(len(part.shared), -1)
                product(weights, part.picked.reshape(-1, self.n), part.place)
        self.out.take(self.first, axis=0, out=self.mean, mode="clip")
        self.out.take(self.rest, axis=0, out=self.contrasts, mode="clip")
        return self.mean, self.contrasts

    def _by_factor(self, part: _Part) -> None:
        assert part.by_factor is not None
        assert part.turn is not None
        terms = part.picked.reshape(-1, self.n)
        products = product(part.by_factor, terms).reshape(self.factors.shape)
        products *= self.factors
        np.matmul(part.turn, np.add.reduce(products, axis=1), out=part.place)

    def _take(self, agents: NDArray[np.int64]) -> None:
        """Multiply in the factors of the agents, where that is what is quicker."""
        factors = self.compiled.factors[:, agents].swapaxes(1, 2)
        self.factors = np.ascontiguousarray(factors, dtype=np.float32)
        alike = bool((agents == agents[0]).all())
        if alike not in self.plans:
            self.plans[alike] = self._plan(alike)
        self.acted, self.terms, self.parts = self.plans[alike]
        self.picked = self.acted[0]
        exact = np.ascontiguousarray(factors, dtype=np.float64)
        for part in self.parts:
            if part.by_factor is None:
                self._weigh(part, exact)

    def _plan(self, alike: bool) -> tuple[Floats, NDArray[np.int64], list[_Part]]:
        """Room for the monomials ``[A, t, n]``, which they are, and parts without their weights."""
        compiled = self.compiled
        together = [c for c in compiled.order if alike or not compiled.personal[c]]
        groups = [together] if together else []
        groups += [[c] for c in compiled.order[len(together) :]]
        # Monomials of the same parts stand side by side: those of a part are then often a slice.
        used = np.stack([(self.weights[..., g] != 0).any(axis=(0, 1, 2, 4)) for g in groups])
        order = np.lexsort(~used[np.argsort(used.sum(axis=1), kind="stable")])
        terms = order[: np.count_nonzero(used.any(axis=0))]
        acted = np.empty((self.choices, len(terms), self.n), dtype=np.float32)
        parts = []
        for group, own in zip(groups, used[:, terms], strict=True):
            index = np.flatnonzero(own)
            weights = self.weights[:, :, :, terms[index]][..., group]
            parts.append(self._part(acted, group, index, weights, group is together))
        return acted, terms, parts

    def _part(
        self,
        acted: Floats,
        coordinates: list[int],
        index: NDArray[np.int64],
        weights: NDArray[np.float64],
        shared: bool,
    ) -> _Part:
        """A part of some of the monomials ``acted``, with room for its weights."""
        m, choices, r, t, _ = weights.shape
        place = self.out[self.rows[coordinates[0]].start : self.rows[coordinates[-1]].stop]
        part = _Part(coordinates, weights, place, np.empty_like(acted[:, :t]), index)
        if t and index[-1] - index[0] == t - 1:
            part.picked, part.index = acted[:, index[0] : index[-1] + 1], None
        few = len(place) * choices * t <= FEW
        if shared and not few:
            part.shared = np.empty((len(place), choices, t), dtype=np.float32)
        elif shared or (t <= OWN_TERMS * r and m * choices * t * self.n <= OWN_NUMBERS):
            part.own = np.empty((len(place), choices, t, self.n), dtype=np.float32)
        else:
            rows = weights[..., 0].swapaxes(1, 2).reshape(m * r, choices * t)
            part.by_factor = np.ascontiguousarray(rows, dtype=np.float32)
            part.turn = self.turn[coordinates[0]].astype(np.float32)
        return part

    def _weigh(self, part: _Part, factors: NDArray[np.float64]) -> None:
        """Multiply factors ``[m, r, n]`` into the weights of a part."""
        m, choices, r, t, count = part.weights.shape
        if part.own is not None and self.compiled.personal[part.coordinates[0]] and count == 1:
            by_term = part.weights[..., 0].swapaxes(2, 3).reshape(m, choices * t, r)
            if self.exact.shape[1] < part.own.size:
                self.exact = np.empty((2, part.own.size))
            own, turned = (room[: part.own.size].reshape(m, -1) for room in self.exact)
            np.matmul(by_term, factors, out=own.reshape(m, choices * t, self.n))
            np.matmul(self.turn[part.coordinates[0]], own, out=turned)
            part.own[:] = turned.reshape(part.own.shape)
            return
        law = np.einsum("martc,mr->cmat", part.weights, factors[:, :, 0])
        sizes = [self.rows[c].stop - self.rows[c].start for c in part.coordinates]
        rows = np.concatenate([
            np.einsum("km,mat->kat", self.turn[c, :k], own)
            for c, k, own in zip(part.coordinates, sizes, law, strict=True)
        ])  # fmt: skip
        if part.own is None:
            part.shared = rows.astype(np.float32)
        else:  # few: as if each row had them for itself
            part.own[:] = rows[..., None]


class _Inputs:
    """Monomials of ``n`` rows."""

    def __init__(self, compiled: CompiledPolynomial, n: int) -> None:
        p, runs, count = compiled.weights.shape[3], compiled.runs, len(compiled.units[0])
        self.discrete, angles = compiled.discrete, compiled.angles
        # Inputs that are in no monomial are left out.
        columns = sorted({column for *_, column in runs})
        if angles:
            columns = list(range(count + len(angles)))
        place = {column: k for k, column in enumerate(columns)}
        plain = [column for column in columns if column < count]
        self.columns: Any = plain
        first, last = (plain[0], plain[-1] + 1) if plain else (0, 0)
        if last - first == len(plain):
            self.columns = slice(first, last)
        # A number for each row: to broadcast one over all of them takes twice as long.
        units = [np.repeat(part[plain, None], n, axis=1) for part in compiled.units]
        self.centre = units[0]
        self.inverse, self.low, self.high = (
            part.astype(np.float32) for part in (1.0 / units[1], *units[2:])
        )
        self.phi = np.empty((p, n), dtype=np.float32)
        self.phi[0] = 1.0
        firsts = [(here, column) for here, parent, _, column in runs if parent == 0]
        in_place = firsts == list(enumerate(columns, start=1))
        self.z = self.phi[1 : len(columns) + 1]
        if not in_place:
            self.z = np.empty((len(columns), n), dtype=np.float32)
        self.plain = self.z[: len(plain)]
        self.angles = [(self.z[c], self.z[count + k]) for k, c in enumerate(angles)]
        self.products = [
            (self.phi[parent : parent + k], self.z[place[column]], self.phi[here : here + k])
            for here, parent, k, column in runs
            if not (in_place and parent == 0)
        ]

    def __call__(self, states: NDArray[np.float64], actions: NDArray[Any]) -> Floats:
        """Of states ``[in, n]`` and, where they are continuous, actions ``[n, a]``."""
        plain = self.plain
        if not self.discrete:
            states = np.concatenate([states, actions.T])
        np.subtract(states[self.columns], self.centre, out=plain, casting="same_kind")
        np.multiply(plain, self.inverse, out=plain)
        np.maximum(plain, self.low, out=plain)
        np.minimum(plain, self.high, out=plain)
        for angle, cosine in self.angles:  # their centre is 0 and their scale is 1
            np.cos(angle, out=cosine)
            np.sin(angle, out=angle)
        for before, factor, here in self.products:
            np.multiply(before, factor, out=here)
        return self.phi
