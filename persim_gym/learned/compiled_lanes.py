"""Steps of many rows of a fitted polynomial, in the same memory again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.contrasts import turn
from persim_gym.learned.products import product

if TYPE_CHECKING:
    from persim_gym.learned.compiled import CompiledPolynomial, LaneStep

#: Terms, for each factor, up to which rows have weights of their own. Of more a product with the
#: weights that all agents share is quicker, though factors are then multiplied in at every step.
OWN_TERMS = 8
#: Weights up to which a matrix library's call costs more than their products one by one.
FEW = 40
#: Numbers, at the most, that such weights of a coordinate may be: what a processor's cache does not
#: hold is slower to read than to work out.
OWN_NUMBERS = 1 << 18


@dataclass(slots=True)
class _Part:
    """What some coordinates change by, of given agents.

    Weights are of one of three kinds: those that all rows share, those of each row, and those that
    factors are yet to be multiplied into.

    Attributes:
        rows: Where their mean changes and contrasts stand ``[k]``.
        terms: Their monomials ``[t]``.
        picked: Room for these ``[t, n]``.
        shared: ``[A, k, t]``.
        own: ``[A, k, t, n]``, of a single coordinate.
        by_factor: ``[m * r, A * t]``, of a single coordinate.
        turn: What then makes of members their mean and contrasts ``[m, m]``.
    """

    rows: slice
    terms: NDArray[np.int64]
    picked: NDArray[np.float32]
    shared: NDArray[np.float32] | None = None
    own: NDArray[np.float32] | None = None
    by_factor: NDArray[np.float32] | None = None
    turn: NDArray[np.float32] | None = None


class PolynomialLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while.

    What each discrete action would do is worked out for all rows, of which those that take it pick
    it at the end.

    Args:
        compiled: The polynomial.
        n: Number of rows.
    """

    def __init__(self, compiled: CompiledPolynomial, n: int) -> None:
        m, choices, _, p, d = compiled.weights.shape
        self.compiled, self.n, self.choices = compiled, n, choices
        self.agents: bytes | None = None
        self.turn = turn(m, compiled.reach)
        self.inputs = _Inputs(compiled, n)
        self.phi = self.inputs.phi
        self.which = np.arange(choices)[:, None]
        self.taken = np.ones((choices, n), dtype=np.float32)
        # Parts use this one after the other: what is small stays in the processor's cache.
        self.room = np.empty((p, n), dtype=np.float32)
        # The mean change of each coordinate, and its contrasts where members differ.
        order = compiled.order
        sizes = np.where(compiled.varied, m, 1)[order]
        ends = np.cumsum(sizes)
        self.rows = {c: slice(e - k, e) for c, k, e in zip(order, sizes, ends, strict=True)}
        self.first = np.array([self.rows[coordinate].start for coordinate in range(d)])
        self.rest = np.setdiff1d(np.arange(ends[-1]), self.first)
        self.by_action = np.empty((choices, ends[-1], n), dtype=np.float32)
        self.out = self.by_action[0] if choices == 1 else np.empty_like(self.by_action[0])
        self.mean = np.empty((d, n), dtype=np.float32)
        self.contrasts = np.empty((len(self.rest), n), dtype=np.float32)
        self.factors: NDArray[np.float32] = compiled.factors[:, :, :0]
        self.parts: list[_Part] = []

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        if self.choices > 1:
            np.copyto(self.taken, actions == self.which)
        self.inputs(states, actions)
        late = []
        for part in self.parts:
            self.phi.take(part.terms, axis=0, out=part.picked, mode="clip")
            place = self.by_action[:, part.rows]
            if part.own is not None:
                np.einsum("tn,aktn->akn", part.picked, part.own, out=place)
            elif part.shared is None:
                late.append((part, self._by_factor(part)))
            elif part.shared.size <= FEW:
                np.einsum("tn,akt->akn", part.picked, part.shared, out=place)
            else:
                weights = part.shared.reshape(-1, len(part.terms))
                place[:] = product(weights, part.picked).reshape(place.shape)
        if self.choices > 1:
            np.einsum("akn,an->kn", self.by_action, self.taken, out=self.out)
        for part, found in late:
            self.out[part.rows] = found
        self.out.take(self.first, axis=0, out=self.mean, mode="clip")
        self.out.take(self.rest, axis=0, out=self.contrasts, mode="clip")
        return self.mean, self.contrasts

    def _by_factor(self, part: _Part) -> NDArray[np.float32]:
        """Mean change and contrasts ``[m, n]`` of a part whose factors are yet to be multiplied."""
        assert part.by_factor is not None
        assert part.turn is not None
        terms = part.picked if self.choices == 1 else part.picked * self.taken[:, None]
        products = product(part.by_factor, terms.reshape(-1, self.n)).reshape(self.factors.shape)
        products *= self.factors
        return np.matmul(part.turn, np.add.reduce(products, axis=1))

    def _take(self, agents: NDArray[np.int64]) -> None:
        """Multiply in the factors of the agents, where that is what is quicker."""
        self.factors = np.ascontiguousarray(self.compiled.factors[:, agents].swapaxes(1, 2))
        order, personal = self.compiled.order, self.compiled.personal
        alike = (agents == agents[0]).all()
        together = [c for c in order if alike or not personal[c]]
        self.parts = [self._shared(together)] if together else []
        self.parts += [self._personal(c) for c in order[len(together) :]]

    def _part(self, coordinates: list[int]) -> tuple[_Part, NDArray[np.float64]]:
        """A part without its weights, and these ``[m, A, r, t, c]``."""
        weights = self.compiled.weights[..., coordinates]
        terms = np.flatnonzero((weights != 0).any(axis=(0, 1, 2, 4)))
        rows = slice(self.rows[coordinates[0]].start, self.rows[coordinates[-1]].stop)
        return _Part(rows, terms, self.room[: len(terms)]), weights[:, :, :, terms]

    def _shared(self, coordinates: list[int]) -> _Part:
        part, weights = self._part(coordinates)
        own = np.einsum("martc,mr->cmat", weights, self.factors[:, :, 0])
        sizes = [self.rows[c].stop - self.rows[c].start for c in coordinates]
        found = [
            np.einsum("km,mat->akt", self.turn[c, :k], w)
            for c, k, w in zip(coordinates, sizes, own, strict=True)
        ]
        part.shared = np.ascontiguousarray(np.concatenate(found, axis=1), dtype=np.float32)
        return part

    def _personal(self, coordinate: int) -> _Part:
        part, weights = self._part([coordinate])
        m, choices, r, t, _ = weights.shape
        turn, n = self.turn[coordinate], self.n
        if t <= OWN_TERMS * r and m * choices * t * n <= OWN_NUMBERS:
            by_term = weights[..., 0].swapaxes(2, 3).reshape(m, choices * t, r)
            own = np.matmul(turn, np.matmul(by_term, self.factors).reshape(m, -1))
            rows = own.reshape(m, choices, t, n).swapaxes(0, 1)
            part.own = np.ascontiguousarray(rows, dtype=np.float32)
        else:
            rows = weights[..., 0].swapaxes(1, 2).reshape(m * r, choices * t)
            part.by_factor = np.ascontiguousarray(rows, dtype=np.float32)
            part.turn = turn.astype(np.float32)
        return part


class _Inputs:
    """Monomials of ``n`` rows.

    Args:
        compiled: The polynomial.
        n: Number of rows.
    """

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
        if plain == list(range(plain[0], plain[-1] + 1)):
            self.columns = slice(plain[0], plain[-1] + 1)
        units = [part[plain, None] for part in compiled.units]
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
        self.angles = [
            (self.z[c], cosine) for c, cosine in zip(angles, self.z[len(plain) :], strict=True)
        ]
        self.products = [
            (self.phi[parent : parent + k], self.z[place[column]], self.phi[here : here + k])
            for here, parent, k, column in runs
            if not (in_place and parent == 0)
        ]

    def __call__(self, states: NDArray[np.float64], actions: NDArray[Any]) -> None:
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
