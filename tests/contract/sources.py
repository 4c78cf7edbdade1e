"""The package's own source, read once."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import persim_gym

PACKAGE = Path(persim_gym.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The tree of a file inside the package, not to be changed."""
    return ast.parse((PACKAGE / path).read_text())


class Statement(NamedTuple):
    """A statement, whether it is inside a function, and whether only a type checker reads it."""

    node: Any
    inside: bool
    typed: bool


def statements(parent: Any, inside: bool = False, typed: bool = False) -> Iterator[Statement]:
    """All statements of a tree, wherever in it, without a visit to the many expressions."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for node in getattr(parent, part, ()):
            yield Statement(node, inside, typed)
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            condition = getattr(node, "test", None)
            checked = isinstance(condition, ast.Name) and condition.id == "TYPE_CHECKING"
            yield from statements(node, inside or is_function, typed or checked)
