"""Arrays and names that a user gives: what is taken, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.offline.arrays import as_array, as_flags, called, check_names, natural


def test_lists_and_other_types_are_converted() -> None:
    found = as_array("obs", [[1, 2], [3, 4]], "fiub", np.float32)
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    kept = np.zeros(3, dtype=np.int64)
    assert as_array("agent", kept, "iu", np.int64) is kept


@pytest.mark.parametrize(
    ("name", "values", "kinds", "error", "says"),
    [
        ("agent", [0.5], "iu", TypeError, "agent must hold integers"),
        ("reward", ["x"], "fiub", TypeError, "reward must hold numbers"),
        ("obs", [1.0, 2.0], "fiub", ValueError, r"obs must be \[T, n\], got the shape \(2,\)"),
        ("obs", [[1.0], [1.0, 2.0]], "fiub", ValueError, "obs must be one array"),
        ("agent", np.array([2**63], dtype=np.uint64), "iu", ValueError, r"below 2\*\*63"),
    ],
)
def test_others_are_refused(name: str, values: Any, kinds: str, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        as_array(name, values, kinds, np.int64 if name == "agent" else None)


def test_flags_are_true_and_false_or_1_and_0() -> None:
    assert as_flags("terminated", [0, 1.0, True]).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="terminated must be true and false"):
        as_flags("terminated", [0, 2])


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        (["a", "b"], TypeError, "must be a tuple of strings"),
        (("a", 2), TypeError, "must be a tuple of strings"),
        (("a",), ValueError, "has 1 names for 2 things"),
        (("a", "a"), ValueError, "must differ from each other, got a twice"),
    ],
)
def test_names_are_one_string_for_each(values: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        check_names("names", values, 2, "things")


def test_names_may_be_absent_and_units_alike() -> None:
    check_names("names", None, 2, "things")
    check_names("units", ("kg", "kg"), 2, "things", alike=True)


def test_natural_order() -> None:
    names = ["p10", "p9", "x", "p09", "10", "9a", "p9b", "", "P1"]
    ordered = ["", "9a", "10", "P1", "p09", "p9", "p9b", "p10", "x"]
    assert sorted(names, key=natural) == ordered


def test_columns_of_several_levels_are_called_by_all_of_them() -> None:
    assert called(("lab", "hb", "")) == "lab.hb"
    assert (called("hb"), called(2)) == ("hb", "2")
