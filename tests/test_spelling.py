"""Names that were probably meant."""

from __future__ import annotations

import pytest

from persim_gym.spelling import closest, meant

KNOWN = ("cem", "icem", "categorical-cem", "half-cheetah")


@pytest.mark.parametrize(
    ("came", "near"),
    [
        ("half_cheetah", "half-cheetah"),
        ("HalfCheetah", "half-cheetah"),
        ("halfcheeta", "half-cheetah"),
        ("halfch", "half-cheetah"),  # abbreviations begin alike
        ("eetah", None),
        ("x" * 201, None),
        (None, None),
    ],
)
def test_the_closest(came: object, near: str | None) -> None:
    assert closest(came, KNOWN) == near
    assert meant(came, KNOWN) == ("" if near is None else f" (did you mean {near!r}?)")


def test_of_names_that_are_alike_the_first_counts() -> None:
    assert closest("a b", ["a-b", "a_b"]) == "a-b"
