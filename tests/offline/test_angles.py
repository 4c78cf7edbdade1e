"""Columns that are declared as angles."""

from __future__ import annotations

import math
from typing import Any

import pytest

from persim_gym.offline.angles import declared_angles

STATES = ("heading", "cos", "sin", "speed")


def test_angles_are_columns_turns_and_pairs() -> None:
    found = declared_angles(["speed", ("heading", 360), ("cos", "sin")], STATES)
    assert found == (((3, 2 * math.pi), (0, 360.0)), ((1, 2),))
    assert declared_angles([], STATES) == ((), ())


@pytest.mark.parametrize(
    ("angles", "error", "says"),
    [
        ("heading", TypeError, r"must be a list such as \['heading'\]"),
        ([("heading", True)], TypeError, "an entry of angles is a column"),
        ([3], TypeError, "an entry of angles is a column"),
        ([("cos", "sin", "heading")], TypeError, "an entry of angles is a column"),
        (["wind"], ValueError, "names 'wind', which is no state column"),
        ([("heading", 0)], ValueError, "a full turn of 'heading' must be positive"),
        ([("heading", -1)], ValueError, "a full turn of 'heading' must be positive"),
        ([("heading", math.nan)], ValueError, "a full turn of 'heading' must be positive"),
        (["cos", ("cos", "sin")], ValueError, "names the column 'cos' twice"),
        ([("cos", "cos")], ValueError, "names the column 'cos' twice"),
    ],
)
def test_others_are_refused(angles: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        declared_angles(angles, STATES)
