"""What happens at a bound of the observation space: a wall that stops, a limit that is kept.

Transitions that end on a bound are left out of a fit, because there the environment has cut off
what the dynamics did. They still say something: what became of the *other* coordinates, when a
prediction goes over the bound. A wall, for example, takes a position's velocity away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Task
from persim_gym.offline.transitions import Transitions

#: Transitions on a bound below which nothing is concluded from them.
LEAST_ROWS = 3


@dataclass(frozen=True, slots=True)
class BoundEffects:
    """What going over each of ``e`` bounds does to the coordinates.

    The next value of a coordinate is ``constant + share * prediction + slope * overshoot``.

    Attributes:
        coordinate: The coordinate that has the bound ``[e]``.
        side: 1 for an upper bound, -1 for a lower one ``[e]``.
        bound: The bound ``[e]``.
        effect: Constant, share and slope for every coordinate ``[e, 3, d]``.
    """

    coordinate: Tensor
    side: Tensor
    bound: Tensor
    effect: Tensor

    def __len__(self) -> int:
        """Number of bounds."""
        return len(self.coordinate)

    def __call__(self, obs: Tensor) -> Tensor:
        """Predicted observations ``[..., d]``, before clipping, with the effects of bounds."""
        for number, column in enumerate(self.coordinate.tolist()):
            over = self.side[number] * (obs[..., column : column + 1] - self.bound[number])
            # On a processor it is quick to see that nothing goes over; elsewhere it is a wait,
            # and in a graph it cannot be asked.
            quick = obs.device.type == "cpu" and not torch.compiler.is_exporting()
            if quick and not bool((over > 0).any()):
                continue
            constant, share, slope = self.effect[number]
            obs = torch.where(over > 0, constant + share * obs + slope * over, obs)
        return obs

    def mark_resets(self, cut: NDArray[np.int8]) -> None:
        """Mark what a bound of another coordinate sets, in place; see :func:`mark_resets`.

        Args:
            cut: Which coordinates of transitions ended on a bound of their own ``[n, c]``.
        """
        own = cut.copy()
        sets = ((self.effect[:, 1] == 0) & (self.effect[:, 2] == 0)).cpu().numpy()
        for (column, side, _), others in zip(self.edges(), sets, strict=True):
            cut[(own[:, [column]] == side) & (own == 0) & others] = 2

    def edges(self) -> list[tuple[int, float, float]]:
        """Coordinate, side and bound of each."""
        columns, sides, bounds = (
            part.tolist() for part in (self.coordinate, self.side, self.bound)
        )
        return list(zip(columns, sides, bounds, strict=True))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> BoundEffects:
        """The same on a device, in a precision."""
        return BoundEffects(
            self.coordinate.to(device),
            *(getattr(self, name).to(device, dtype) for name in ("side", "bound", "effect")),
        )

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def cutting_bounds(task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bounds ``[d]`` each at which an environment cuts off what its dynamics do.

    By default those of the observation space; a task may say which of them are ``walls``.
    """
    space = task.observation_space
    found: tuple[NDArray[Any], NDArray[Any]] = getattr(task, "walls", (space.low, space.high))
    return found


def following_of(t: Transitions, rows: NDArray[Any], task: Task) -> NDArray[np.float64]:
    """Next observations ``[k, d]``, more exact than they are kept: from the changes.

    Changes were taken before anything was rounded. What ends on a bound does so exactly.
    """
    low, high = cutting_bounds(task)
    kept = t.next_obs[rows].astype(np.float64)
    exact = t.obs[rows].astype(np.float64) + t.change(rows)
    return np.where((kept <= low) | (kept >= high), kept, exact)


def mark_resets(cut: NDArray[np.int8], values: NDArray[Any], unit: NDArray[Any]) -> None:
    """Mark what a bound of another coordinate sets, in place: a wall takes a velocity away.

    Args:
        cut: Which coordinates of transitions ended on a bound of their own ``[n, c]``: 1 or -1.
            What another bound has set becomes 2: always the same value, where that bound is met.
        values: The coordinates after the transitions ``[n, c]``.
        unit: Deviation of their changes ``[c]``: differences a thousandth of it are none.
    """
    own = cut.copy()
    for column in range(cut.shape[1]):
        for side in (-1, 1):
            met = own[:, column] == side
            for other in range(cut.shape[1]):
                rows = np.flatnonzero(met & (own[:, other] == 0))
                if len(rows) >= LEAST_ROWS and np.ptp(values[rows, other]) <= 1e-3 * unit[other]:
                    cut[rows, other] = 2


def learn_bounds(
    predicted: NDArray[np.float64],
    observed: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    unit: NDArray[Any],
) -> BoundEffects | None:
    """Learn from transitions that end on a bound.

    For each bound that was reached, and each other coordinate, the simplest of a few forms is
    chosen by leave-one-out error: nothing happens; a constant; a shift in proportion to the
    overshoot; a line; a line and the overshoot. A form replaces a simpler one where its error is
    at least a tenth less.

    Args:
        predicted: Next observations as the model predicts them, before clipping ``[k, d]``.
        observed: Next observations ``[k, d]``.
        low: Lower bounds ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
        unit: Deviation of the recorded changes ``[d]``: differences a thousandth of it are none.

    Returns:
        ``None`` where no bound has an effect.
    """
    d = len(low)
    found: list[tuple[int, int, float, NDArray[np.float64]]] = []
    for column in range(d):
        for side, bound in ((-1, float(low[column])), (1, float(high[column]))):
            at = observed[:, column] == bound
            if int(at.sum()) < LEAST_ROWS:
                continue
            over = side * (predicted[at, column] - bound)
            effect = np.tile(np.array([[0.0], [1.0], [0.0]]), (1, d))
            for other in range(d):
                if other == column:
                    continue
                # What is on a bound of its own was cut there, whatever this bound did to it.
                own = observed[at, other]
                free = (own > low[other]) & (own < high[other])
                rows = free if int(free.sum()) >= LEAST_ROWS else np.ones_like(free)
                effect[:, other] = _simplest(
                    predicted[at, other][rows], own[rows], over[rows], 1e-3 * float(unit[other])
                )
            if (effect != np.array([[0.0], [1.0], [0.0]])).any():
                found.append((column, side, bound, effect))
    if not found:
        return None
    columns, sides, bounds, effects = zip(*found, strict=True)
    double = torch.float64
    return BoundEffects(
        torch.tensor(columns),
        torch.tensor(sides, dtype=double),
        torch.tensor(bounds, dtype=double),
        torch.as_tensor(np.stack(effects), dtype=double),
    )


def _simplest(
    predicted: NDArray[np.float64],
    observed: NDArray[Any],
    over: NDArray[np.float64],
    negligible: float,
) -> NDArray[np.float64]:
    """Constant, share and slope of the simplest form that explains what was observed."""
    one = np.ones_like(predicted)
    forms: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, ...]]] = (
        (np.zeros((len(one), 0)), predicted, ()),
        (one[:, None], 0 * one, (0,)),
        (over[:, None], predicted, (2,)),
        (np.stack([one, predicted], 1), 0 * one, (0, 1)),
        (np.stack([one, predicted, over], 1), 0 * one, (0, 1, 2)),
    )
    best: NDArray[np.float64] = np.array([0.0, 1.0, 0.0])
    least = np.inf
    for design, known, places in forms:
        target = observed - known
        weights: NDArray[Any] = np.zeros(0)
        leverage: NDArray[Any] = np.zeros(len(one))
        if places:
            if len(one) <= len(places) or np.linalg.matrix_rank(design) < len(places):
                continue
            weights = np.linalg.lstsq(design, target, rcond=None)[0]
            leverage = np.square(np.linalg.qr(design)[0]).sum(axis=1)
        left = (target - design @ weights) / np.maximum(1 - leverage, 1e-3)
        error = float(np.sqrt(np.mean(left**2)))
        if error < 0.9 * least:
            best = np.array([0.0, 0.0 if 1 in places or places == (0,) else 1.0, 0.0])
            best[list(places)] = weights
            least = error
        if least <= negligible:
            break
    return best
