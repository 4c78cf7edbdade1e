from __future__ import annotations

import math
from typing import Any

import pytest

from persim_gym.offline import read_table

pandas = pytest.importorskip("pandas")

TABLE = pandas.DataFrame(
    {"id": ["a"] * 3, "t": [0, 1, 2], "c": [1.0, 0.0, -1.0], "s": [0.0, 1.0, 0.0],
     "heading": [10.0, 350.0, 340.0], "u": [0.1, 0.2, 0.3]}
)  # fmt: skip
COLUMNS = {"agent": "id", "time": "t", "state": ["c", "s", "heading"], "action": "u"}


def test_angles_are_columns_turns_and_pairs() -> None:
    data = read_table(TABLE, **COLUMNS, angles=[("c", "s"), ("heading", 360)])
    assert (data.angles, data.circles) == (((2, 360.0),), ((0, 1),))
    plain = read_table(TABLE, **COLUMNS)
    assert (plain.angles, plain.circles) == ((), ())
    assert plain.sha256() != data.sha256()
    assert data.select([True, False]).circles == ((0, 1),)
    assert read_table(TABLE, **COLUMNS, angles=["s"]).angles == ((1, 2 * math.pi),)


@pytest.mark.parametrize(
    ("angles", "error", "message"),
    [
        ("heading", TypeError, r"such as \['heading'\]"),
        ([3], TypeError, "an entry of angles"),
        ([("c", "s", "heading")], TypeError, "an entry of angles"),
        ([("heading", True)], TypeError, "an entry of angles"),
        (["u"], ValueError, "no state column: there are c, s, heading"),
        ([("heading", -1)], ValueError, "must be positive"),
        ([("heading", math.nan)], ValueError, "must be positive"),
        (["c", ("c", "s")], ValueError, "'c' twice"),
        ([("c", "c")], ValueError, "'c' twice"),
    ],
)
def test_wrong_angles_are_refused(angles: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_table(TABLE, **COLUMNS, angles=angles)
