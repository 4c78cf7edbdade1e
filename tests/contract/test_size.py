"""What can be read at one go: no long files, no long functions, no constant of two values."""

from __future__ import annotations

from pathlib import Path

from tests.contract.sources import FILES, PACKAGE, Source, read, source_of

#: The most lines of a file, and of a function's body without its docstring.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def long_functions(source: Source) -> list[str]:
    """Functions of a module that are too long; a docstring and the arguments are read apart."""
    return [f"{name} has {n} lines" for name, n in source.functions if n > LONGEST_FUNCTION]


def test_files_and_functions_are_short() -> None:
    """What is longer is split where it does two things."""
    lines = {path: len((PACKAGE / path).read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}
    found = {path: long_functions(source_of(path)) for path in FILES}
    assert {path: long for path, long in found.items() if long} == {}


def test_a_long_function_is_found() -> None:
    body = "    x = 0\n" * (LONGEST_FUNCTION + 1)
    short = body.removesuffix("    x = 0\n")

    def found(text: str) -> list[str]:
        return long_functions(read(text, Path("core.py")))

    assert found(f"def f():\n{body}") == ["f has 61 lines"]
    assert found(f"async def f(\n    a: int,\n):\n{body}") == ["f has 61 lines"]
    assert found(f'def f(\n    a: int,\n):\n    """A\n    b."""\n{short}') == []


def twice(source: Source) -> list[str]:
    """Constants of a module that are given a value more than once: the first is none then."""
    return sorted({name for name in source.constants if source.constants.count(name) > 1})


def test_a_constant_has_one_value() -> None:
    found = {path: twice(source_of(path)) for path in FILES}
    assert {path: names for path, names in found.items() if names} == {}
    text = "A, B = 1, 2\nC: int = 3\nfor D in (): pass\ndef f():\n    A = 4\nB, c = 5, 6\nc = 7\n"
    assert twice(read(text, Path("core.py"))) == ["B"]
