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


class Import(NamedTuple):
    """What is imported, as parts of its full name, and where."""

    parts: tuple[str, ...]
    in_function: bool
    for_types: bool


class Source(NamedTuple):
    """A file's imports, wherever in it, the lines of each function's body, and its constants."""

    imports: list[Import]
    functions: list[tuple[str, int]]
    constants: list[str]


@functools.cache
def source_of(path: Path) -> Source:
    """A file inside the package."""
    return read((PACKAGE / path).read_text(), path)


def read(text: str, path: Path) -> Source:
    """Read a file's text as that of the one at ``path`` inside the package."""
    package, found = ("persim_gym", *path.parts[:-1]), Source([], [], [])
    module = ast.parse(text)
    found.constants.extend(name for node in module.body for name in _constants(node))
    for node, in_function, for_types in _statements(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            found.functions.append((node.name, lines))
        names = []
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = (*base, *(node.module.split(".") if node.module else ()))
            names = [(*origin, alias.name) for alias in node.names]
        found.imports.extend(Import(parts, in_function, for_types) for parts in names)
    return found


def _constants(node: ast.stmt) -> Iterator[str]:
    """Names in capitals that a statement at a module's top gives a value."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    for part in (part for target in targets if target is not None for part in ast.walk(target)):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.id.isupper():
            yield part.id


def _statements(
    parent: Any, in_function: bool = False, for_types: bool = False
) -> Iterator[tuple[Any, bool, bool]]:
    """All statements, without a visit to the many expressions."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for node in getattr(parent, part, ()):
            yield node, in_function, for_types
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            condition = getattr(node, "test", None)
            checked = isinstance(condition, ast.Name) and condition.id == "TYPE_CHECKING"
            yield from _statements(node, in_function or function, for_types or checked)


#: A room imports only from those before it.
ROOMS = (
    "interrupts",
    "spelling",
    "checks",
    "core",
    "files",
    "writing",
    "store",
    "progress",
    "metrics",
    "threads",
    "envs",
    "rollout",
    "policies",
    "offline",
    "learned",
    "hub",
    "planning",
    "baselines",
    "evaluation",
    "training",
    "pages",
    "plots",
    "explorer",
    "experiments",
    "demo",
    "cli",
    "__main__",
)
