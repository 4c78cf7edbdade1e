"""Values of a table's columns."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.offline.tables import values


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


@pytest.mark.parametrize(
    "text",
    [
        ["2024Q1", "2024Q2"], ["2024-Q1", "2024-q2"], ["2024 Q1", "2024 Q2"],
        ["Q1 2024", "Q2 2024"],
        ["Q12024", "Q22024"], ["Q1-2024", "Q2-2024"], ["2024 Jan", "2024 Apr"],
        ["January 2024", "April 2024"], ["Jan-2024", "Apr-2024"], ["2024M01", "2024M04"],
        ["2024-W01", "2024-W14"], ["2024W1", "2024W14"], ["2024-01", "2024-04"],
    ],
)  # fmt: skip
def test_quarters_months_and_weeks_are_dates(text: list[str]) -> None:
    first, second = values.as_dates(pd.Series(text))
    assert (first.month, first.day, second.month, second.day) == (1, 1, 4, 1)


@pytest.mark.parametrize("text", [["01/02/2024"], ["Q5 2024"], ["2024Q1 2024"], ["Q1"], ["2024 X"]])
def test_other_text_is_no_date(text: list[str]) -> None:
    assert values.as_dates(pd.Series(text)).isna().all()


@pytest.mark.parametrize(
    "text", [["2024Q1", "2024Q5", "2024Q3"], ["Jan 2024", "Juno 2024", "Mar 2024"]]
)
def test_of_dates_the_one_that_is_none_is_found(text: list[str]) -> None:
    assert values.as_dates(pd.Series(text)).isna().tolist() == [False, True, False]
