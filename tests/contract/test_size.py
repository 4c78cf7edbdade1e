"""What can be read at one go: no long files, no long functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.contract.sources import FILES, PACKAGE, statements, tree_of

#: The most lines of a file, and of a function's body without its docstring.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def long_functions(tree: ast.Module) -> Iterator[str]:
    """Functions of a module that are too long; a docstring and the arguments are read apart."""
    for node, *_ in statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            if lines > LONGEST_FUNCTION:
                yield f"{node.name} has {lines} lines"


def test_files_and_functions_are_short() -> None:
    """What is longer is split where it does two things."""
    lines = {path: len((PACKAGE / path).read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}
    found = {path: list(long_functions(tree_of(path))) for path in FILES}
    assert {path: long for path, long in found.items() if long} == {}


def test_a_long_function_is_found() -> None:
    body = "    x = 0\n" * (LONGEST_FUNCTION + 1)
    short = body.removesuffix("    x = 0\n")

    def found(source: str) -> list[str]:
        return list(long_functions(ast.parse(source)))

    assert found(f"def f():\n{body}") == ["f has 61 lines"]
    assert found(f"async def f(\n    a: int,\n):\n{body}") == ["f has 61 lines"]
    assert found(f'def f(\n    a: int,\n):\n    """A\n    b."""\n{short}') == []
