"""Numbers as texts."""

from __future__ import annotations

import pytest

from persim_gym.plots.numbers import number, share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0324, "0.0324"), (1.0, "1.00"), (123.4, "123"), (0, "0"), (4.36e-5, "4.4·10⁻⁵"),
        (2.5e7, "2.5·10⁷"), (None, "–"), (0.99996, "1.000"), (9.98e-5, "1.0·10⁻⁴"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (0.99977, "0.9998"),
        (0.99998, "0.99998"),
        (-3.21, "-3.21"),
        (1 - 1e-7, "> 0.99999"),
        (1.0, "1"),
        (None, "–"),
    ],
)
def test_a_share_that_is_not_one_is_not_called_one(value: float | None, text: str) -> None:
    assert share(value) == text
