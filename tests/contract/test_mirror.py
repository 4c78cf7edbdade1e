"""Tests mirror the package: the tests of ``persim_gym/x/y.py`` are ``tests/x/test_y.py``."""

from __future__ import annotations

from pathlib import Path

import persim_gym

PACKAGE, TESTS = Path(persim_gym.__file__).parent, Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for path in PACKAGE.rglob("*.py")
    if not path.name.startswith("__")
)

#: Modules whose tests are another file's, for they are tested through it. This list only shrinks.
ELSEWHERE = {
    "planning/recommendation": "planning/test_recommending.py",
    **dict.fromkeys(
        ("plots/validation", "plots/validation_support"), "plots/test_validation_page.py"
    ),
}  # fmt: skip


def namesake(module: str) -> Path:
    room, _, name = module.rpartition("/")
    return TESTS / room / f"test_{name}.py"


def test_every_module_has_its_tests() -> None:
    without = {module for module in MODULES if not namesake(module).exists()}
    assert without - ELSEWHERE.keys() == set(), "they need tests"
    assert ELSEWHERE.keys() - without == set(), "they have tests now: take them from the list"
    assert [file for file in ELSEWHERE.values() if not (TESTS / file).exists()] == []
