"""Coordinates that a user declares as angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

#: Angles as columns with a full turn, and pairs of cosine and sine.
Declared = tuple[tuple[tuple[int, float], ...], tuple[tuple[int, int], ...]]


def declared_angles(angles: Sequence[Any], states: Sequence[str]) -> Declared:
    """Columns of angles, and pairs of columns that are cosine and sine of one.

    Args:
        angles: Names of state columns in radians, ``("heading", 360)`` for another full turn, and
            pairs ``("cosine", "sine")``.
        states: The state's columns.

    Raises:
        TypeError: If an entry is neither.
        ValueError: If it names no state column, names one twice, or a turn is not positive.
    """
    if isinstance(angles, str):
        raise TypeError(f"angles must be a list such as [{angles!r}], got {angles!r}")
    single: list[tuple[int, float]] = []
    pairs: list[tuple[int, int]] = []
    used: list[str] = []
    for entry in angles:
        first, second = (entry, 2 * math.pi) if isinstance(entry, str) else _two(entry)
        names = [part for part in (first, second) if isinstance(part, str)]
        for name in names:
            if name not in states:
                raise ValueError(
                    f"angles names {name!r}, which is no state column: there are "
                    f"{', '.join(states)}"
                )
        used += names
        if isinstance(second, str):
            pairs.append((states.index(first), states.index(second)))
        else:
            if not (math.isfinite(second) and second > 0):
                raise ValueError(f"a full turn of {first!r} must be positive, got {second!r}")
            single.append((states.index(first), float(second)))
    if twice := sorted({name for name in used if used.count(name) > 1}):
        raise ValueError(f"angles names the column {twice[0]!r} twice")
    return tuple(single), tuple(pairs)


def _two(entry: Any) -> tuple[str, Any]:
    valid = (
        isinstance(entry, (tuple, list))
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], (str, int, float))
        and not isinstance(entry[1], bool)
    )
    if not valid:
        raise TypeError(
            "an entry of angles is a column, a column with its full turn such as ('heading', 360), "
            f"or a pair of cosine and sine, got {entry!r}"
        )
    return entry[0], entry[1]
