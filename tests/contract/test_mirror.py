"""Tests mirror the package: the tests of ``persim_gym/x/y.py`` are ``tests/x/test_y.py``."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract.sources import FILES

TESTS = Path(__file__).parents[1]


def namesake(module: Path) -> Path:
    return TESTS / module.parent / f"test_{module.stem}.py"


def test_every_module_has_its_tests() -> None:
    """None is tested through another alone: what it promises is said where it is looked for."""
    modules = [path for path in FILES if not path.name.startswith("__")]
    without = [str(path) for path in modules if "def test_" not in read(namesake(path))]
    assert without == [], "they need tests"
    assert namesake(Path("envs/tasks/facts.py")) == TESTS / "envs" / "tasks" / "test_facts.py"


def test_no_tests_take_from_others() -> None:
    """What several files of tests use stands in a file of its own, or in their room's conftest."""
    taken = re.compile(r"^ *from (tests\S*\.test_\w+) import|^ *from tests\S* import .*\btest_")
    lines = [(path, line) for path in TESTS.rglob("*.py") for line in read(path).splitlines()]
    found = [(path, line, match) for path, line in lines if (match := taken.match(line))]
    others = [
        f"{path.relative_to(TESTS)}: {line}"
        for path, line, match in found
        if not (match[1] or "").endswith(f".{path.stem}")  # a process of its own takes itself
    ]
    assert others == []


def read(path: Path) -> str:
    """A file's text; none where there is no file."""
    return path.read_text() if path.exists() else ""
