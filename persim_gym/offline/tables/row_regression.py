"""What a row leads to: a quick regression that outliers do not bend.

Changes from a row to the next are quadratic in states and actions, with an agent's own deviations
from what all share. Transitions far from what is expected count less and less, as those of a Cauchy
distribution would.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Inputs up to which their products are terms, and terms up to which an agent has its own of all.
INPUTS, OWN = 14, 40
#: Rows for each term that a regression needs.
ROWS = 4.0
#: Units from its middle at which an input is held in products.
HELD = 4.0
#: Rounds of weights, those of them for what all share alone, and residuals, in units of the usual
#: ones, that count half.
ROUNDS, SHARED, HALF = 6, 2, 2.0
#: Penalties of what is an agent's own, in transitions; rows of the stretches in turn by which one
#: is chosen, and agents.
RIDGES, STRETCH, JUDGES = (0.03, 0.3, 3.0, 30.0, 300.0, 1e5), 8, 60
#: Penalty of what all share, in transitions: what rows that hardly count say alone is nothing.
SHRUNK = 0.1
#: Different values of an action up to which each is a kind of its own.
KINDS = 12


def short_way(left: Floats, turns: Floats) -> Floats:
    """Differences ``[..., d]``, of angles the shorter way round."""
    turn = np.where(turns > 0, turns, np.inf)
    return np.where(turns > 0, left - turns * np.round(left / turn), left)


@dataclass(eq=False)
class RowRegression:
    """Rows of some agents, and what they lead to.

    Attributes:
        turns: Full turns of columns that are angles, 0 of the others ``[d]``.
        kinds: Of each action column its different values where these are few, else ``None``.
        centre: Middles of the inputs ``[q]``.
        scale: Their units ``[q]``.
        unit: Units of the changes ``[d]``.
        common: Weights of all ``[P, d]``.
        own: What is an agent's own of the first terms ``[N, p, d]``.
        agents: Their numbers ``[N]``, ascending.
    """

    turns: Floats
    kinds: list[Floats | None]
    centre: Floats
    scale: Floats
    unit: Floats
    common: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    own: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    agents: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @staticmethod
    def possible(rows: int, columns: int) -> bool:
        """Whether a number of rows is enough for a number of columns."""
        return rows >= ROWS * (1 + columns) * (1 + columns / 2 if columns <= INPUTS else 1)

    @classmethod
    def fitted(
        cls,
        states: Floats,
        actions: Floats,
        following: Floats,
        whose: NDArray[np.int64],
        turns: Floats,
        before: NDArray[np.int64],
    ) -> RowRegression:
        """Fit it.

        Args:
            states: ``[T, d]``.
            actions: ``[T, a]``.
            following: States of the next rows ``[T, d]``.
            whose: Agents, or trajectories, ascending ``[T]``.
            turns: See :class:`RowRegression`.
            before: Which of the rows each one follows, -1 for none ``[T]``: what comes of a row
                that is far from what was expected counts no more than the row itself, or few
                outliers would be learned by heart.
        """
        kinds: list[Floats | None] = []
        for column in actions.T:
            different = np.unique(column)
            kinds.append(different[1:] if len(different) <= KINDS else None)
        changes = short_way(following - states, turns)
        made = cls(turns, kinds, np.zeros(0), np.ones(0), unit_of(changes))
        inputs = made._inputs(states, actions)
        made.centre, made.scale = np.median(inputs, axis=0), unit_of(inputs)
        made._fit(made._terms(inputs), changes / made.unit, whose, before)
        return made

    def __call__(self, states: Floats, actions: Floats, whose: NDArray[np.int64]) -> Floats:
        """What rows lead to ``[k, d]``: states ``[k, d]``, actions ``[k, a]``, agents ``[k]``."""
        terms = self._terms(self._inputs(states, actions))
        place = np.minimum(np.searchsorted(self.agents, whose), len(self.agents) - 1)
        known = self.agents[place] == whose
        first = terms[:, : self.own.shape[1]] * known[:, None]
        change = terms @ self.common + np.einsum("np,npd->nd", first, self.own[place])
        return np.asarray(states + change * self.unit)

    def _inputs(self, states: Floats, actions: Floats) -> Floats:
        """States with angles as cosine and sine, and actions, few different ones as kinds."""
        turning = self.turns > 0
        angle = 2 * np.pi * states[:, turning] / self.turns[turning]
        parts = [states[:, ~turning], np.cos(angle), np.sin(angle)]
        for column, kinds in zip(actions.T, self.kinds, strict=True):
            one = column[:, None]
            parts.append(one if kinds is None else (one == kinds).astype(np.float64))
        return np.concatenate(parts, axis=1)

    def _terms(self, inputs: Floats) -> Floats:
        z = (inputs - self.centre) / self.scale
        parts = [np.ones((len(z), 1)), z]
        z = np.clip(z, -HELD, HELD)
        if z.shape[1] <= INPUTS:
            left, right = np.triu_indices(z.shape[1])
            parts.append(z[:, left] * z[:, right])
        return np.concatenate(parts, axis=1)

    def _fit(
        self,
        terms: Floats,
        changes: Floats,
        whose: NDArray[np.int64],
        before: NDArray[np.int64],
    ) -> None:
        self.agents, place = np.unique(whose, return_inverse=True)
        count = terms.shape[1]
        width = count if count <= OWN else 1 + len(self.centre)
        first, weight = terms[:, :width], np.ones_like(changes)
        self.own = np.zeros((len(self.agents), width, changes.shape[1]))
        ridge = np.ones(changes.shape[1])
        for number in range(ROUNDS):
            self.common = _common(terms, changes, weight)
            left = changes - terms @ self.common
            if number == SHARED:
                ridge = _chosen(first, left, place, weight)
            if number >= SHARED:
                self.own = _own(first, left, place, weight, ridge)
                left = left - np.einsum("np,npd->nd", first, self.own[place])
            usual = np.quantile(np.abs(left), 0.683, axis=0) + 1e-12
            weight = 1 / (1 + np.square(left / (HALF * usual)))
            least = np.where(before < 0, 1.0, weight.min(axis=1)[before])
            weight = np.minimum(weight, least[:, None])


def unit_of(values: Floats) -> Floats:
    """A size of columns ``[k]`` that few values do not change; a deviation of normal ones.

    One value in ten may be large: pulses of a kettle in a household's power.
    """
    unit = values.std(axis=0)
    small = 1e-6 * unit
    for share, width in ((0.02, 4.1), (0.1, 2.56)):
        low, high = np.quantile(values, [share, 1 - share], axis=0)
        unit = np.where(high - low > small, (high - low) / width, unit)
    return np.where(unit > 0, unit, 1.0)


def _common(terms: Floats, changes: Floats, weight: Floats) -> Floats:
    """Weights ``[P, d]`` of transitions that count differently ``[T, d]``."""
    found = np.empty((terms.shape[1], changes.shape[1]))
    for column, (change, own) in enumerate(zip(changes.T, weight.T, strict=True)):
        gram = terms.T @ (terms * own[:, None])
        gram[np.diag_indices_from(gram)] += SHRUNK + 1e-7 * np.trace(gram) / len(gram)
        found[:, column] = np.linalg.solve(gram, terms.T @ (own * change))
    return found


def _own(
    first: Floats, left: Floats, place: NDArray[np.int64], weight: Floats, ridge: Floats
) -> Floats:
    """What is each agent's own ``[N, p, d]``."""
    agents, p = int(place.max()) + 1, first.shape[1]
    found = np.zeros((agents, p, left.shape[1]))
    begins = np.flatnonzero(np.diff(place, prepend=-1))
    there = place[begins]
    for column in range(left.shape[1]):
        weighted = first * weight[:, column, None]
        cross = np.add.reduceat(weighted * left[:, column, None], begins)
        grams = [
            weighted[a:b].T @ first[a:b]
            for a, b in zip(begins, np.append(begins[1:], len(first)), strict=True)
        ]
        gram = np.stack(grams) + ridge[column] * np.eye(p)
        found[there, :, column] = np.linalg.solve(gram, cross[..., None])[..., 0]
    return found


def _chosen(first: Floats, left: Floats, place: NDArray[np.int64], weight: Floats) -> Floats:
    """Penalties ``[d]`` with which each other stretch of a few agents is predicted best."""
    few = place < JUDGES
    first, left, place, weight = first[few], left[few], place[few], weight[few]
    half = np.arange(len(place)) // STRETCH % 2
    best, found = np.full(left.shape[1], np.inf), np.full(left.shape[1], RIDGES[-1])
    for ridge in RIDGES:
        error = np.abs(left)
        for part in (0, 1):
            fit, judged = half == part, half != part
            if not fit.any():
                continue
            own = _own(first[fit], left[fit], place[fit], weight[fit], np.full(len(best), ridge))
            inside = judged & (place < len(own))
            guess = np.einsum("np,npd->nd", first[inside], own[place[inside]])
            error[inside] = np.abs(left[inside] - guess)
        middle = np.median(error, axis=0)
        found, best = np.where(middle < best, ridge, found), np.minimum(middle, best)
    return found
