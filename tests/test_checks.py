"""The checks themselves: what they return, what they say, and that they change nothing."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym import checks
from persim_gym.learned import PerSim
from persim_gym.learned.closed_form.basis import Monomials
from tests.learned.worlds import PlainTask, random_walks


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1), np.array(1)])
def test_integers_become_plain(value: Any) -> None:
    assert type(checks.integer("n", value)) is int
    assert type(checks.positive_integer("n", value)) is int


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "says"),
    [
        ({"low": 0}, [0, 1e300], [-1e-9], "a number, at least 0"),
        ({"low": 0, "above": True}, [1e-9], [0], "a number, more than 0"),
        ({"low": 0, "high": 1}, [0, 1], [2], "a number, at least 0 and at most 1"),
        ({"low": 0, "high": 1, "below": True}, [0], [1], "at least 0 and less than 1"),
        ({}, [-1e300], [math.inf, math.nan, 10**400], "a finite number"),
    ],
)
def test_bounds_of_numbers(
    bounds: dict[str, Any], inside: list[float], outside: list[float], says: str
) -> None:
    for value in inside:
        assert checks.number("x", np.float64(value), **bounds) == value
    for value in [*outside, True, "1", None]:
        with pytest.raises(ValueError, match=f"x must be .*{says}, got "):
            checks.number("x", value, **bounds)


def test_places_to_write_are_checked_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("new", "a/b/c", "."):
        assert checks.output_folder("out", str(tmp_path / name)) == tmp_path / name
    assert checks.output_file("out", tmp_path / "a" / "b.gif", (".gif",)) == tmp_path / "a/b.gif"
    for name in ("file", "file/inside", "link", "x" * 300):
        with pytest.raises(ValueError, match=r"out .*"):
            checks.output_folder("out", tmp_path / name)
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        checks.output_file("out", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_home_folder_is_written_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checks.as_path("p", "~/x") == tmp_path / "x"
    assert checks.as_path("p", "x/~") == Path("x/~")


def test_memory_is_that_of_the_machine_or_less(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < checks.memory_there() <= machine
    monkeypatch.setattr(checks, "memory_there", lambda: 10**9)
    checks.enough_memory("x=3", 1e9, "choose less")
    with pytest.raises(ValueError, match=r"x=3 would need about 2 TB .* there are 1 GB: choose"):
        checks.enough_memory("x=3", 2e12, "choose less")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"method": "als", "degree": 200}, "degree=200 with lag=1, 70058751 monomials"),
        ({"method": "als", "degree": 10**6}, "degree=1000000"),
        ({"lag": 10**12}, "lag=1000000000000 of"),
        ({"lag": 10**15}, "lag=1000000000000000 of"),
        ({"method": "als", "ensemble_size": 10**11}, "ensemble_size=100000000000"),
        ({"method": "sgd", "ensemble_size": 10**11}, "ensemble_size=100000000000"),
        ({"method": "als", "rank": 1, "degree": 1, "ensemble_size": 10**10}, "ensemble_size="),
        ({"method": "hierarchical", "ensemble_size": 10**9}, "ensemble_size=1000000000"),
        ({"method": "latent", "ensemble_size": 10**9}, "ensemble_size=1000000000"),
        ({"method": "latent", "hidden": (10**7, 10**7)}, "weights each"),
        ({"method": "sgd", "rank": 10**12}, r"rank=1000000000000"),
        ({"state_hidden": (10**9,)}, "weights each"),
    ],
)
def test_fits_beyond_memory_say_what_they_need(options: dict[str, Any], what: str) -> None:
    task = PlainTask.of(4, actions=3)
    with pytest.raises(ValueError, match=f"{what}.* would need about .* there are"):
        PerSim.fit(random_walks(task), task=task, progress=False, **options)


def test_monomials_are_counted_as_they_are_made() -> None:
    for inputs in range(1, 6):
        for cosines in range(inputs):
            for degree in range(1, 5):
                made = Monomials.up_to(degree, inputs, range(inputs - cosines, inputs))
                assert Monomials.count(degree, inputs, cosines) == made.size


@pytest.mark.parametrize(
    ("came", "near"),
    [
        ("cemm", "cem"),
        ("CEM", "cem"),
        ("categorical_cem", "categorical-cem"),
        ("Categorical CEM", "categorical-cem"),
        ("nothing like it", None),
        ("", None),
        (3, None),
        ("c" * 10_000, None),
    ],
)
def test_what_was_meant(came: object, near: str | None) -> None:
    known = ("cem", "icem", "categorical-cem")
    assert checks.closest(came, known) == near
    hint = "" if near is None else f" (did you mean {near!r}?)"
    assert checks.meant(came, known) == hint
    with pytest.raises(ValueError, match="must be one of cem, icem") as caught:
        checks.one_of("planner", came, known)
    assert str(caught.value).endswith(hint)


def test_a_path_that_is_beside_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").touch()
    found = checks.beside(tmp_path / "patient.csv")
    assert found == f" (did you mean {str(tmp_path / 'patients.csv')!r}?)"
    assert checks.beside(tmp_path / "other") == ""
    assert checks.beside(tmp_path / "no" / "patient.csv") == ""
