"""Members as their mean and orthonormal contrasts: what a step needs of them, and no more.

The squares of the contrasts sum up to those of the members' deviations from their mean, so that
disagreement is read off without the members. They are one fewer, and as weights are turned into
them beforehand, nothing has to be centred in a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=16)
def basis(members: int) -> NDArray[np.float64]:
    """Orthonormal contrasts of ``m`` members, Helmert's: ``[m - 1, m]``, each of sum 0."""
    found = np.tril(np.ones((members - 1, members)))
    rows = np.arange(1, members)
    found[rows - 1, rows] = -rows
    found /= np.sqrt(rows * (rows + 1.0))[:, None]
    found.flags.writeable = False
    return found


def turn(members: int, reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """What makes of members' changes their mean, and contrasts in units of disagreement.

    Args:
        members: Number of members ``m``.
        reach: The furthest that a member can be from the mean at a disagreement of 1 ``[d]``.

    Returns:
        ``[d, m, m]``: the first row gives the mean, the others the contrasts. The root of the sum
        of the contrasts' squares over coordinates is the disagreement.
    """
    found = np.empty((len(reach), members, members))
    found[:, 0] = 1 / members
    found[:, 1:] = basis(members) / reach[:, None, None]
    return found


def axes(
    members: int, reach: NDArray[np.float64], coordinates: Sequence[int]
) -> NDArray[np.float64]:
    """What makes of contrasts the members' deviations from their mean.

    Args:
        members: Number of members ``m``.
        reach: As in :func:`turn` ``[d]``.
        coordinates: Of which coordinates there are contrasts, ``m - 1`` of each in turn; the
            others are the same for all members.

    Returns:
        ``[m, d, k]``.
    """
    found = np.zeros((members, len(reach), len(coordinates), members - 1))
    for place, coordinate in enumerate(coordinates):
        found[:, coordinate, place] = basis(members).T * reach[coordinate]
    return found.reshape(members, len(reach), -1)


class Turning:
    """What makes of every member's change their mean and contrasts, for each coordinate alike.

    Args:
        members: Number of members ``m``.
        reach: As in :func:`turn` ``[d]``.
    """

    def __init__(self, members: int, reach: NDArray[np.float64]) -> None:
        d = len(reach)
        self.turn = turn(members, reach).astype(np.float32)
        own = axes(members, reach, range(d)).reshape(members, d, d, members - 1)
        #: What makes of contrasts the members' deviations from their mean ``[m, d, (m - 1) * d]``.
        self.axes = own.swapaxes(2, 3).reshape(members, d, -1)
        mean = np.kron(np.full((1, members), 1 / members), np.eye(d))
        apart = np.kron(np.eye(members) - 1 / members, np.diag(1 / reach))
        #: What makes of the changes ``[m * d]`` of one row their mean, and the members' deviations
        #: from it in units of disagreement ``[d + m * d, m * d]``.
        self.deviations = np.concatenate([mean, apart]).astype(np.float32)

    def __call__(
        self, changes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The mean ``[d, n]`` of changes ``[d, m, n]``, and contrasts ``[(m - 1) * d, n]``."""
        found = np.ascontiguousarray((self.turn @ changes).swapaxes(0, 1))
        return found[0], found[1:].reshape(-1, found.shape[2])
