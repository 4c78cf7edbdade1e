"""Steps of many rows of a fitted polynomial, in the same memory again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.contrasts import turn
from persim_gym.learned.lane_calls import product

Floats = NDArray[np.float32]

if TYPE_CHECKING:
    from persim_gym.learned.compiled import CompiledPolynomial
    from persim_gym.learned.compiled_steps import LaneStep

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
