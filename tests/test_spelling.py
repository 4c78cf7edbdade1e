"""Names that were probably meant."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import pytest

from persim_gym.spelling import closest, meant, renamed

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


def test_former_names_are_refused_by_their_present_ones() -> None:
    @renamed(broad="wide", tall="high")
    @dataclass(frozen=True, slots=True)
    class Size:
        wide: int
        high: int = 2

    assert (Size(1).wide, replace(Size(1, 3), wide=4).high) == (4 - 3, 3)
    assert list(inspect.signature(Size).parameters) == ["wide", "high"]
    for former, present in (("broad", "wide"), ("tall", "high")):
        said = f"Size: {former} is called {present}"
        with pytest.raises(TypeError, match=said):
            Size(**{former: 1})
        with pytest.raises(AttributeError, match=said):
            getattr(Size(1), former)
