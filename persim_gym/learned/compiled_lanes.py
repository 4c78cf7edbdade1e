"""Steps of many rows of a fitted polynomial, in the same memory again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.contrasts import turn
from persim_gym.learned.products import product

if TYPE_CHECKING:
    from persim_gym.learned.compiled import CompiledPolynomial

#: Terms, for each factor, up to which rows have weights of their own. Of more a product with the
#: weights that all agents share is quicker, though factors are then multiplied in at every step.
OWN_TERMS = 8
#: Numbers, at the most, that such weights of all rows may be: more than a processor's cache holds
#: is slower to read than to work out.
OWN_NUMBERS = 1 << 18


@dataclass(slots=True)
class _Part:
    """What the changes of some coordinates are made of.

    Attributes:
        coordinates: Which ``[c]``.
        terms: Their monomials, of all actions one after the other ``[t]``.
        weights: ``[m, r, A * P, c]``.
        picked: Room for the monomials ``[t, n]``.
        shared: Weights that all rows share ``[m * c, t]``, with the factors multiplied in.
        own: Those of each row ``[m, t, n]``, of a single coordinate.
        by_factor: Weights that factors are yet to be multiplied into ``[m * c * r, t]``.
    """

    coordinates: NDArray[np.int64]
    terms: NDArray[np.int64]
    weights: NDArray[np.float64]
    picked: NDArray[np.float32]
    shared: NDArray[np.float32] | None = None
    own: NDArray[np.float32] | None = None
    by_factor: NDArray[np.float32] | None = None


class PolynomialLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while.

    Of discrete actions each has monomials of its own, which are 0 in the rows that take another:
    what an action does is then part of the same product for all rows.

    Args:
        compiled: The polynomial.
        n: Number of rows.
    """

    def __init__(self, compiled: CompiledPolynomial, n: int) -> None:
        m, choices, r, p, d = compiled.weights.shape
        self.compiled, self.n = compiled, n
        self.agents: bytes | None = None
        self.turn = turn(m, compiled.reach)
        self.centre, scale, low, high = (part[:, None] for part in compiled.units)
        self.inverse = (1.0 / scale).astype(np.float32)
        self.bounds = low.astype(np.float32), high.astype(np.float32)
        self.angles = compiled.angles
        self.phi = np.empty((choices, p, n), dtype=np.float32)
        self.phi[:, 0] = 1.0
        self.which = np.arange(choices)[:, None]
        in_place = compiled.in_place and choices == 1
        inputs = len(scale) + len(compiled.angles)
        self.z = np.empty((inputs, n), dtype=np.float32)
        if in_place:
            self.z = self.phi[0, 1 : inputs + 1]
        self.plain = self.z[: len(scale)]
        self.work = np.empty((len(scale), n))
        self.products = [
            (self.phi[:, parent : parent + k], self.z[column], self.phi[:, here : here + k])
            for here, parent, k, column in compiled.runs
            if not (in_place and parent == 0)
        ]
        self.factors = np.empty((m, r, n), dtype=np.float32)
        self.out = np.empty((m, d, n), dtype=np.float32)
        weights = compiled.weights.transpose(0, 2, 1, 3, 4)  # [m, r, A, P, d]
        personal = (weights[:, 1:] != 0).any(axis=(0, 1, 2, 3))
        # What agents share is one small product; others have terms that differ by coordinate.
        groups = [np.flatnonzero(~personal), *np.flatnonzero(personal)[:, None]]
        flat = weights.reshape(m, r, choices * p, d)
        # Parts use this one after the other: what is small stays in the processor's cache.
        room = np.empty((choices * p, n), dtype=np.float32)
        self.parts = [self._part(flat[..., own], own, room) for own in groups if len(own)]

    @staticmethod
    def _part(
        weights: NDArray[np.float64], coordinates: NDArray[np.int64], room: NDArray[np.float32]
    ) -> _Part:
        terms = np.flatnonzero((weights != 0).any(axis=(0, 1, 3)))
        return _Part(coordinates, terms, weights[:, :, terms], room[: len(terms)])

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> NDArray[np.float32]:
        """The members' mean change and their contrasts ``[m, d, n]``."""
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        self._monomials(states, actions)
        phi = self.phi.reshape(-1, self.n)
        for part in self.parts:
            phi.take(part.terms, axis=0, out=part.picked, mode="clip")
            if part.own is not None:
                place = self.out[:, part.coordinates[0]]
                np.einsum("tn,mtn->mn", part.picked, part.own, out=place)
            elif part.shared is not None:
                found = product(part.shared, part.picked)
                self.out[:, part.coordinates] = found.reshape(len(self.out), -1, self.n)
            else:
                self._by_factor(part)
        return self.out

    def _by_factor(self, part: _Part) -> None:
        assert part.by_factor is not None
        m, r, n = self.factors.shape
        products = product(part.by_factor, part.picked).reshape(m, -1, r, n)
        products *= self.factors[:, None]
        members = np.add.reduce(products, axis=2)  # [m, c, n]
        turn = self.turn[part.coordinates].astype(np.float32)
        self.out[:, part.coordinates] = np.matmul(turn, members.swapaxes(0, 1)).swapaxes(0, 1)

    def _take(self, agents: NDArray[np.int64]) -> None:
        """Multiply in the factors of the agents, where that is what is quicker."""
        m, r, n = self.factors.shape
        factors = self.compiled.factors[:, agents].swapaxes(1, 2)  # [m, r, n]
        self.factors[:] = factors
        alike = bool((agents == agents[0]).all())
        for part in self.parts:
            part.shared = part.own = part.by_factor = None
            t, c = part.weights.shape[2:]
            turn = self.turn[part.coordinates]
            if alike or not part.weights[:, 1:].any():
                own = np.einsum("mrtc,mr->mct", part.weights, factors[:, :, 0])
                part.shared = np.einsum("cjm,mct->jct", turn, own).reshape(m * c, t)
                part.shared = np.ascontiguousarray(part.shared, dtype=np.float32)
            elif t <= OWN_TERMS * r and m * t * n <= OWN_NUMBERS:
                own = np.matmul(part.weights[..., 0].swapaxes(1, 2), factors)  # [m, t, n]
                found = np.matmul(turn[0], own.reshape(m, t * n))
                part.own = found.reshape(m, t, n).astype(np.float32)
            else:
                rows = part.weights.transpose(0, 3, 1, 2).reshape(m * c * r, t)
                part.by_factor = np.ascontiguousarray(rows, dtype=np.float32)

    def _monomials(self, states: NDArray[np.float64], actions: NDArray[Any]) -> None:
        z, phi = self.z, self.phi
        if not self.compiled.discrete:
            states = np.concatenate([states, actions.T])
        elif len(phi) > 1:
            phi[:, 0] = actions == self.which
        np.subtract(states, self.centre, out=self.work)
        np.multiply(self.work, self.inverse, out=self.plain, casting="same_kind")
        np.maximum(self.plain, self.bounds[0], out=self.plain)
        np.minimum(self.plain, self.bounds[1], out=self.plain)
        for place, column in enumerate(self.angles, start=len(self.plain)):
            np.cos(z[column], out=z[place])
            np.sin(z[column], out=z[column])
        for before, factor, here in self.products:
            np.multiply(before, factor, out=here)
