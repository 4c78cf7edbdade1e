"""Tests mirror the package: the tests of ``persim_gym/x/y.py`` are ``tests/x/test_y.py``."""

from __future__ import annotations

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


def read(path: Path) -> str:
    """A file's text; none where there is no file."""
    return path.read_text() if path.exists() else ""
