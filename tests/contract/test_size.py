"""What can be read at one go: no long files, no long functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import persim_gym

PACKAGE = Path(persim_gym.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

#: The most lines of a file, and of a function's body without its docstring.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def long_functions(source: str) -> Iterator[str]:
    """Functions of a module that are too long; a docstring and the arguments are read apart."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            if lines > LONGEST_FUNCTION:
                yield f"{node.name} has {lines} lines"


def test_files_and_functions_are_short() -> None:
    """What is longer is split where it does two things."""
    sources = {path.as_posix(): (PACKAGE / path).read_text() for path in FILES}
    lines = {path: len(source.splitlines()) for path, source in sources.items()}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}
    found = {path: list(long_functions(source)) for path, source in sources.items()}
    assert {path: long for path, long in found.items() if long} == {}


def test_a_long_function_is_found() -> None:
    body = "    x = 0\n" * (LONGEST_FUNCTION + 1)
    assert list(long_functions(f"def f():\n{body}")) == ["f has 61 lines"]
    assert list(long_functions(f"async def f(\n    a: int,\n):\n{body}")) == ["f has 61 lines"]
    short = body.removesuffix("    x = 0\n")
    assert list(long_functions(f'def f(\n    a: int,\n):\n    """A\n    b."""\n{short}')) == []
