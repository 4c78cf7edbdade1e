"""`CompiledSteps`: what is made for an agent's steps, or those of many rows, is kept."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

#: Agents whose single steps are kept, and numbers of rows whose memory is.
AGENTS, SIZES = 256, 4

#: What a row becomes: the members' mean [d], their deviations from it [m * d] in units in which the
#: root of the sum of their squares is the disagreement, and the disagreement.
RowStep = tuple[list[float], NDArray[np.float64], float]
Row = Callable[[Sequence[float], Any], RowStep]
#: What rows become: the members' mean change ``[d, n]`` and their contrasts ``[k, n]``.
LaneStep = tuple[NDArray[np.float32], NDArray[np.float32]]
Lanes = Callable[[NDArray[np.int64], NDArray[np.float64], NDArray[Any]], LaneStep]


class CompiledSteps(ABC):
    """Members' changes of state in NumPy, before bounds."""

    #: What makes of contrasts the members' deviations from their mean ``[m, d, k]``.
    axes: NDArray[np.float64]

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._lanes: dict[int, Lanes] = {}

    @abstractmethod
    def _row_of(self, agent: int) -> Row:
        """Make the function of an agent's single steps."""

    @abstractmethod
    def _lanes_of(self, n: int) -> Lanes:
        """Make the function of steps of ``n`` rows."""

    def row(self, agent: int) -> Row:
        """The function of an agent's single steps."""
        found = self._rows.get(agent)
        if found is None:
            if len(self._rows) >= AGENTS:
                self._rows.clear()
            found = self._rows[agent] = self._row_of(agent)
        return found

    def change(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts, which hold until the next call.

        Args:
            agents: ``[n]``.
            states: ``[in, n]``.
            actions: ``[n]`` or ``[n, a]``.

        Returns:
            ``[d, n]`` and ``[k, n]``; see :mod:`persim_gym.learned.stepping.contrasts`.
        """
        n = len(agents)
        lanes = self._lanes.get(n)
        if lanes is None:
            if len(self._lanes) >= SIZES:
                self._lanes.clear()
            lanes = self._lanes[n] = self._lanes_of(n)
        return lanes(agents, states, actions)

    def _twin(self) -> Self:
        """A copy that has nothing made yet."""
        twin = copy.copy(self)
        CompiledSteps.__init__(twin)
        return twin
