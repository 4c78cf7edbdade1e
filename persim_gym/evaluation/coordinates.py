"""Errors by coordinate, each in its own unit: the one convention of tables in this package.

A number over all coordinates adds metres to radians, and the largest hides the others. It stands
beside the errors by coordinate only where the paper's number is compared, and is named so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import SUITES

#: What an RMSE is wherever this package writes one.
RMSE = (
    "RMSE: root of the mean squared error over steps, of each coordinate alone and in its own unit"
)
#: The one number that the paper and the authors' code report, for comparison with them.
PAPER_RMSE = "The paper's RMSE is over all coordinates together, unscaled whatever their units"
#: What its column is called.
PAPER_COLUMN = "all (paper's)"
#: Coordinates that are shown one by one; where there are more, those of one unit are together.
MOST_ALONE = 6


class Group(NamedTuple):
    """Coordinates that have a column of their own.

    Attributes:
        title: With the unit, such as ``"angle (rad)"`` or ``"7 of unit rad"``.
        members: Indices of the coordinates.
    """

    title: str
    members: tuple[int, ...]


def unit_of(coordinate: str) -> str:
    """The unit in a coordinate's name, ``""`` where it has none."""
    return coordinate.partition("(")[2].rstrip(")")


def headline_of(task: str) -> str:
    """The coordinate whose error stands where there is room for one alone, with its unit."""
    suite = SUITES[task]
    return suite.coordinates[suite.headline]


def with_unit(text: str, coordinate: str) -> str:
    """A number as text, with the coordinate's unit where it has one."""
    return f"{text} {unit_of(coordinate)}".rstrip()


def coordinate_groups(coordinates: Sequence[str]) -> tuple[Group, ...]:
    """The columns of a table of errors: coordinates, or units where there are many coordinates.

    Args:
        coordinates: Names with their units, such as ``"angle (rad)"``.
    """
    if len(coordinates) <= MOST_ALONE:
        return tuple(Group(name, (i,)) for i, name in enumerate(coordinates))
    by_unit: dict[str, list[int]] = {}
    for i, name in enumerate(coordinates):
        by_unit.setdefault(unit_of(name), []).append(i)
    return tuple(
        Group(coordinates[own[0]], (own[0],))
        if len(own) == 1
        else Group(f"{len(own)} of unit {unit}" if unit else f"{len(own)} without unit", tuple(own))
        for unit, own in by_unit.items()
    )


def grouped_rmse(
    coordinate_rmse: NDArray[np.float64], coordinates: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Errors by column: of coordinates of one unit together the root of the mean square.

    Args:
        coordinate_rmse: RMSE of each coordinate alone ``[..., d]``.
        coordinates: Their ``d`` names.

    Returns:
        For each title of :func:`coordinate_groups` ``[...]``.
    """
    return {
        group.title: np.sqrt(np.square(coordinate_rmse[..., list(group.members)]).mean(axis=-1))
        for group in coordinate_groups(coordinates)
    }


def rmse_meaning(*tasks: str) -> str:
    """What an RMSE is, in a sentence; of tasks with many coordinates also how these are grouped."""
    many = [
        f"{SUITES[task].title} has {len(SUITES[task].coordinates)} coordinates: those of one unit "
        "are together, as the root of their mean square"
        for task in tasks
        if len(SUITES[task].coordinates) > MOST_ALONE
    ]
    without = [
        SUITES[task].title
        for task in tasks
        if not any(unit_of(name) for name in SUITES[task].coordinates)
    ]
    said = [RMSE + (f" ({', '.join(without)}: no units)" if without else ""), *many]
    return f"{'. '.join([*said, PAPER_RMSE])}."
