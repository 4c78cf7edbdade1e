"""Where data jump: thresholds of a feature at which another law holds at once, for all agents.

A network learns such an edge from the few transitions beside it, and learns at the same time what
lies beyond: where agents have seldom been, its edge ends up elsewhere. A threshold that agents
share is found far more surely by regression discontinuity. On both sides of a value of a feature,
what is left of the changes is regressed on all features. Where a second regression for one side,
fitted to some agents, foretells much more of the *others*, there is a jump.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.network import STEEP, LatentNetwork
from persim_gym.learned.latent.start import agent_blocks, basis_of

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Jump:
    """A threshold.

    Attributes:
        column: Of the feature.
        at: Its value there.
        gap: Width of the gap between the transitions on both sides.
    """

    column: int
    at: float
    gap: float


def find_jumps(data: LatentData, most: int = 4) -> list[Jump]:
    """Thresholds at which changes jump, for agents at large; the clearest first.

    Args:
        data: The transitions.
        most: Thresholds to find.
    """
    data = _part(data)
    if len(data) < FEWEST_ROWS or data.features.shape[1] > MANY:
        return []
    features, parts = data.features, data.agents % PARTS
    columns = [k for k in range(features.shape[1]) if _moves(data, k)]
    beyond = np.empty((len(features), 0))
    jumps: list[Jump] = []
    taken: list[tuple[int, int]] = []
    while len(jumps) < most:
        search = _Search(features, _left(data, beyond), parts)
        found = [search.best(k, [row for j, row in taken if j == k]) for k in columns]
        best = max(found, key=lambda own: own.gain, default=None)
        if best is None or not best.gain:
            break
        row = search.refined(best)
        below, above = features[search.orders[best.column][row - 1 : row + 1], best.column].tolist()
        jumps.append(Jump(best.column, (below + above) / 2, above - below))
        taken.append((best.column, row))
        side = features[:, best.column, None] > jumps[-1].at
        beyond = np.concatenate([beyond, side * _with_one(features)], axis=1)
    return jumps


def place_gates(network: LatentNetwork, jumps: Sequence[Jump]) -> LatentNetwork:
    """The network with its last gates at thresholds, as steep as the gaps in the data allow.

    Args:
        network: A network of as many placed gates as there are jumps.
        jumps: The thresholds.
    """
    if not jumps:
        return network
    tensors, shape = network.tensors(), network.shape
    weight, bias = tensors["head.weight"].clone(), tensors["head.bias"].clone()
    unmixed = np.linalg.pinv(tensors["mix"].double().numpy(), rcond=1e-6, hermitian=True)
    slopes = [min(SHARPEST, ACROSS / max(jump.gap, 1e-12)) / STEEP for jump in jumps]
    planes = [s * unmixed[:, jump.column] for s, jump in zip(slopes, jumps, strict=True)]
    first = shape.hidden[-1]
    weight[..., shape.fixed] = 0.0
    weight[:, first : first + shape.features, shape.fixed] = torch.tensor(
        np.stack(planes, axis=1), dtype=torch.float32
    )
    bias[..., shape.fixed] = torch.tensor(
        [-s * jump.at for s, jump in zip(slopes, jumps, strict=True)], dtype=torch.float32
    )
    return network.with_tensors(head_weight=weight, head_bias=bias)


def _part(data: LatentData) -> LatentData:
    """Transitions that no bound has cut, of as many agents as are searched."""
    if data.cut is not None:
        data = data.select(~(data.cut != 0).any(axis=1))
    if len(data) <= MOST_ROWS:
        return data
    order = np.random.default_rng(0).permutation(data.num_agents)
    counts = np.bincount(data.agents, minlength=data.num_agents)[order].cumsum()
    return data.of_agents(np.sort(order[: max(2, int(np.searchsorted(counts, MOST_ROWS)))]))


def _moves(data: LatentData, column: int) -> bool:
    """Whether a feature takes many values, and not only one for each agent."""
    values = data.features[:, column]
    rows = np.bincount(data.agents, minlength=data.num_agents).clip(1)
    mean = np.bincount(data.agents, values, minlength=data.num_agents) / rows
    moved = np.square(values - mean[data.agents]).mean() > MOVES * values.var()
    return bool(moved and len(np.unique(values.astype(np.float32))) >= FEWEST_VALUES)


def _left(data: LatentData, beyond: Floats) -> Floats:
    """What a regression for all leaves of the changes, and after it each agent's own ``[T, 2 c]``.

    It is given as it is and, beside, pressed together: few transitions with large changes would
    hide a jump that the others show.

    Args:
        data: The transitions.
        beyond: Columns for the far sides of jumps that are known ``[T, k]``.
    """
    basis = np.concatenate([basis_of(data.features), beyond], axis=1)
    left = data.changes - basis @ np.linalg.lstsq(basis, data.changes, rcond=None)[0]
    own = np.concatenate([_with_one(data.features), beyond], axis=1)
    ridge = OWN_RIDGE * np.eye(own.shape[1])
    for rows in agent_blocks(data.agents, data.num_agents):
        x = own[rows]
        left[rows] -= x @ np.linalg.solve(x.T @ x + ridge, x.T @ left[rows])
    size = np.sqrt(np.square(left).mean(0)) + 1e-12
    return np.concatenate([left, np.arcsinh(left / (NEAR * size))], axis=1)


@dataclass(frozen=True, slots=True)
class _Found:
    """A place along a feature.

    Attributes:
        column: Of the feature.
        gain: Share of what is left over in all that a jump explains; 0 where there is none.
        row: First row above it, in the order of the feature.
        output: Which of all that is left jumps most.
    """

    column: int
    gain: float = 0.0
    row: int = 0
    output: int = 0


#: Products of a design ``[k, p, p]``, of rows below a place and of those above it.
_Sides = tuple[Floats, Floats]


class _Search:
    """Places where one side needs a regression of its own.

    Args:
        features: ``[T, q]``.
        left: What is left of the changes ``[T, 2 c]``.
        parts: Which part of the agents each transition is of ``[T]``.
    """

    def __init__(self, features: Floats, left: Floats, parts: Rows) -> None:
        self.features, self.left, self.parts = features, left, parts
        self.orders = [np.argsort(own, kind="stable") for own in features.T]
        self.window = max(FEWEST_BESIDE, int(WINDOW * len(features)))
        self.least = max(FEWEST_BESIDE, int(LEAST * len(features)))
        self.unit = np.square(left).sum(0) + 1e-12

    def best(self, column: int, taken: Sequence[int]) -> _Found:
        """The clearest jump along a feature, none near rows that are taken."""
        order = self.orders[column]
        rows = self._places(self.features[order, column], taken)
        if not len(rows):
            return _Found(column)
        design, parts = self._design(column, order), self.parts[order]
        both = self._sides(rows, design)
        # Fitted to all, one regression has an advantage: it is not to be beaten by chance.
        plain = self._errors(both, both, split=False)
        hopeful = (self._errors(both, both) < (1 - SHARE) * plain).any(axis=1)
        if not hopeful.any():
            return _Found(column)
        rows, plain, both = rows[hopeful], plain[hopeful], (both[0][hopeful], both[1][hopeful])
        split = np.zeros_like(plain)
        for part in range(PARTS):
            own = self._sides(rows, design, np.flatnonzero(parts == part))
            split += self._errors((both[0] - own[0], both[1] - own[1]), own)
        gain = np.where(split < (1 - SHARE) * plain, (plain - split) / self.unit, 0.0)
        place, output = np.unravel_index(np.argmax(gain), gain.shape)
        return _Found(column, float(gain[place, output]), int(rows[place]), int(output))

    def refined(self, found: _Found) -> int:
        """The row in the order of a feature that divides both sides best."""
        low, high = (int(end[0]) for end in self._ends(np.array([found.row])))
        inside = self.orders[found.column][low:high]
        values = self.features[inside, found.column].astype(np.float32)
        rows, least = np.flatnonzero(np.diff(values) > 0) + 1, FEWEST_BESIDE // 4
        rows = rows[(rows >= least) & (rows <= high - low - least)]
        if not len(rows):
            return found.row
        total = _cumulative(self._design(found.column, inside), np.append(rows, high - low))
        sides = total(rows), total(np.array([high - low])) - total(rows)
        return low + int(rows[np.argmin(self._errors(sides, sides)[:, found.output])])

    def _places(self, values: Floats, taken: Sequence[int]) -> Rows:
        """Rows that are tried: first ones of a value, with enough rows on both sides."""
        n, count = len(values), max(PLACES[0], PLACES[1] // self.features.shape[1])
        tried = (np.linspace(0, 1, count + 2)[1:-1] * n).astype(np.int64)
        rows = np.unique(np.searchsorted(values, values[tried], side="left"))
        rows = rows[(rows >= self.least) & (rows <= n - self.least)]
        for row in taken:
            rows = rows[np.abs(rows - row) > self.window]  # else it would be refined to the same
        return rows

    def _ends(self, rows: Rows) -> tuple[Rows, Rows]:
        n = len(self.features)
        return np.maximum(rows - self.window, 0), np.minimum(rows + self.window, n)

    def _sides(self, rows: Rows, design: Floats, chosen: Rows | None = None) -> _Sides:
        """Both sides of places, of all rows of a design or of chosen ones."""
        low, high = self._ends(rows)
        total = _cumulative(design, np.unique(np.concatenate([low, rows, high])), chosen)
        return total(rows) - total(low), total(high) - total(rows)

    def _design(self, column: int, order: Rows) -> Floats:
        """Constant, features, how they go along one of them, and what is left ``[k, p]``."""
        x = _with_one(self.features[order])
        along = x[:, column + 1, None]
        bent = along * (x[:, 1:] if x.shape[1] <= FEW + 1 else along)
        return np.concatenate([x, bent, self.left[order]], axis=1)

    def _errors(self, fitted: _Sides, judged: _Sides, split: bool = True) -> Floats:
        """Sums of squares ``[k, 2 c]`` that a regression leaves.

        Args:
            fitted: Rows that it is fitted to.
            judged: Rows that are predicted.
            split: Whether the upper side has a regression of its own beside.
        """
        c, own = self.left.shape[1], 1 + self.features.shape[1]
        if split:
            a, b = _joined(*fitted, own, c), _joined(*judged, own, c)
        else:
            a, b = fitted[0] + fitted[1], judged[0] + judged[1]
        k = a.shape[-1] - c
        ridge = np.full(k, RIDGE)
        if split:
            ridge[-own:] = SIDE_RIDGE
        weights = np.linalg.solve(a[:, :k, :k] + np.diag(ridge), a[:, :k, k:])
        crossed = 2 * b[:, :k, k:] - b[:, :k, :k] @ weights
        return np.asarray(np.einsum("kcc->kc", b[:, k:, k:]) - (weights * crossed).sum(1))


def _joined(below: Floats, above: Floats, own: int, outputs: int) -> Floats:
    """Products of a design of which the upper side has the first columns once more ``[k, p, p]``.

    Args:
        below: Products of the columns of a design and of what is explained, below ``[k, r, r]``.
        above: Those above.
        own: Columns that the upper side has once more.
        outputs: Columns of what is explained, the last ones.
    """
    both, plain = below + above, below.shape[-1] - outputs
    first = np.concatenate([both[:, :plain, :plain], above[:, :own, :plain]], axis=1)
    side = np.concatenate([above[:, :plain, :own], above[:, :own, :own]], axis=1)
    explained = np.concatenate([both[:, :plain, plain:], above[:, :own, plain:]], axis=1)
    top = np.concatenate([first, side, explained], axis=2)
    bottom = np.concatenate([explained.mT, both[:, plain:, plain:]], axis=2)
    return np.concatenate([top, bottom], axis=1)


def _cumulative(design: Floats, cuts: Rows, chosen: Rows | None = None) -> Callable[[Rows], Floats]:
    """Sums of products of a design's first rows ``[k, p, p]``, as a function of how many ``[k]``.

    Args:
        design: ``[T, p]``.
        cuts: Numbers of rows that may be asked for, ascending.
        chosen: Rows that count, ascending; by default all.
    """
    ends = cuts
    if chosen is not None:
        design, ends = design[chosen], np.searchsorted(chosen, cuts)
    parts = [design[a:b].T @ design[a:b] for a, b in itertools.pairwise([0, *ends.tolist()])]
    sums = np.cumsum(parts, axis=0)
    return lambda rows: np.asarray(sums[np.searchsorted(cuts, rows)])


def _with_one(features: Floats) -> Floats:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


#: Transitions that are searched, about, and fewest in which anything is searched for.
MOST_ROWS, FEWEST_ROWS = 20_000, 500
#: Features up to which they are searched: of more it takes seconds.
MANY = 20
#: Values of a feature from which a threshold may lie between two of them, and share of their
#: variance that must lie within agents: else it is agents that are distinguished.
FEWEST_VALUES, MOVES = 12, 0.01
#: Places that are tried along a feature: at least, and times the features.
PLACES = 30, 1200
#: Transitions on each side of a place: those that are seen, as a share of all, and the fewest,
#: as a share and as a number.
WINDOW, LEAST, FEWEST_BESIDE = 0.05, 0.02, 40
#: Features up to which each may go along another in a way of its own.
FEW = 6
#: What is left over that is hardly pressed together, in deviations.
NEAR = 0.3
#: Share of what is left beside a place that a jump must explain.
SHARE = 0.25
#: Parts of the agents, of which each is foretold by what the others show.
PARTS = 8
#: What priors count for, in transitions: of an agent's own regression, of one beside a place, and
#: of a second one for one side.
OWN_RIDGE, RIDGE, SIDE_RIDGE = 3.0, 1e-6, 1.0
#: Steepest slope of a gate, and how far a gate goes in the gap between both sides, as logarithms of
#: odds.
SHARPEST, ACROSS = 3000.0, 8.0
