"""Values of a table's columns."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pytest

from persim_gym.offline import values


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (str, "text"), (bytes, "bytes"), (np.bool_, "true and false"), (bool, "true and false"),
        (datetime.datetime, "dates"), (int, "numbers"), (np.float32, "numbers"),
        (decimal.Decimal, "numbers"), (tuple, "tuple"),
    ],
)  # fmt: skip
def test_kinds(kind: type, name: str) -> None:
    assert values.kind_of(kind) == name


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (3, True), (3.0, True), (3.5, False), (float("nan"), False), (float("inf"), False),
        (decimal.Decimal("1e3"), True), (decimal.Decimal("1e3000"), False),
    ],
)  # fmt: skip
def test_whole_numbers(value: Any, whole: bool) -> None:
    assert values.is_whole(value) == whole


@pytest.mark.parametrize(
    ("value", "number"), [("1e3", True), (" 2 ", True), ("nan", False), ("x", False), (3, False)]
)
def test_text_that_reads_as_a_number(value: Any, number: bool) -> None:
    assert values.says_number(value) == number


def test_bytes_are_text_only_if_all_of_them_are() -> None:
    assert values.decoded([b"a", b"b"]) == ["a", "b"]
    assert values.decoded([b"a", b"\xff"]) == ["61", "ff"]
    assert values.decoded([b"a", b""]) == ["61", ""]


def test_names_stand_as_numbers_or_in_their_natural_order() -> None:
    numbers, names = ["10", "9", "-1"], ["p10", "p9", "p1"]
    assert sorted(range(3), key=values.order_of(numbers)) == [2, 1, 0]
    assert sorted(range(3), key=values.order_of(names)) == [2, 1, 0]


def test_values_in_messages_are_short() -> None:
    assert values.short("x" * 100) == f"{'x' * 100!r}"[:57] + "..."
    assert values.short(10**5000).endswith("...")
    assert values.label(2.0) == "2"
    assert values.label(2.5) == "2.5"
