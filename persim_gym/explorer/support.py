"""Where support ends: the first step at which a predicted course leaves what data have shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.dynamics import LearnedDynamics

#: Part of a range by which rounding may leave it.
ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class SupportEnd:
    """Where support ends.

    Attributes:
        step: The first step that is not supported, from 1 on.
        reason: Why, as the rest of a sentence.
    """

    step: int
    reason: str


def disagreement_along(
    sim: LearnedDynamics,
    agents: NDArray[np.int64],
    states: NDArray[np.float32],
    actions: NDArray[Any],
    mean: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Disagreement of single steps ``[n, h]`` along predicted courses.

    Args:
        sim: The simulator.
        agents: ``[n]``.
        states: Start states ``[n, d]`` or ``[n, l, w]``.
        actions: ``[n, h(, a)]``.
        mean: Predicted observations ``[n, h, d]``.
    """
    n, h = mean.shape[:2]
    if sim.lag == 1:
        rows = np.concatenate([states[:, None], mean[:, :-1]], axis=1)
    else:
        along = [np.asarray(states)]
        for step in range(h - 1):
            along.append(np.asarray(sim.follow(along[-1], actions[:, step], mean[:, step])))
        rows = np.stack(along, axis=1)
    rows = rows.reshape(n * h, *rows.shape[2:]).astype(np.float32)
    found = sim.disagreement(np.repeat(agents, h), rows, actions.reshape(n * h, *actions.shape[2:]))
    return np.asarray(found).reshape(n, h)


def support_end(
    sim: LearnedDynamics,
    actions: NDArray[Any],
    mean: NDArray[np.float32],
    disagreement: NDArray[np.float32],
    names: Sequence[str],
    action_names: Sequence[str],
    action_range: tuple[NDArray[Any], NDArray[Any]] | None,
) -> SupportEnd | None:
    """Where support of one course ends, by three rules.

    An action outside of the recorded range; a coordinate outside of the recorded range; a
    disagreement of the members that recorded transitions almost never reach.

    Args:
        sim: The simulator.
        actions: ``[h(, a)]``.
        mean: Predicted observations ``[h, d]``.
        disagreement: ``[h]``.
        names: Of coordinates ``[d]``.
        action_names: Of actions ``[a]``.
        action_range: Least and largest recorded actions ``[a]``.

    Returns:
        The first end, or ``None``.
    """
    known = sim.experience
    ends = []
    acted = actions.reshape(len(actions), -1)
    if action_range is not None:
        ends += _left("the action", acted, *action_range, action_names)
    ends += _left("", mean, known.low, known.high, names)
    torn = np.flatnonzero(disagreement > known.disagreement_limit)
    if len(torn):
        ends.append(
            SupportEnd(
                int(torn[0]) + 1,
                "the members of the simulator disagree more than on recorded transitions",
            )
        )
    return min(ends, key=lambda end: end.step, default=None)


def _left(
    what: str,
    values: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    names: Sequence[str],
) -> list[SupportEnd]:
    """The first step at which each column of ``values`` ``[h, c]`` is out of its range."""
    slack = ROUNDING * np.maximum(high - low, np.maximum(np.abs(low), np.abs(high)) * 1e-2)
    inside = (values >= low - slack) & (values <= high + slack)
    ends = []
    for column, name in enumerate(names):
        out = np.flatnonzero(~inside[:, column])
        if len(out):
            called = f"{what} {name}".strip()
            ends.append(
                SupportEnd(
                    int(out[0]) + 1,
                    f"{called} leaves the recorded range ({low[column]:.4g} to {high[column]:.4g})",
                )
            )
    return ends
