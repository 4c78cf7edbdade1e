"""Commands, run inside the test's own process."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from typer import testing
from typer.testing import CliRunner, Result

from persim_gym.cli import app

# Typer makes all commands anew for every call, which takes longer than most of them do.
testing._get_command = functools.cache(testing._get_command)
COMMAND: Any = testing._get_command(app)

#: Options of a fit that takes a moment.
TINY = ["--ensemble-size", "2", "--epochs", "4", "--threads", "1"]


def invoke(*args: Any, charset: str = "utf-8", **options: Any) -> Result:
    """Run a command, whatever it exits with; an error that it does not handle is the test's."""
    words = [str(arg) for arg in args]
    return CliRunner(charset=charset).invoke(app, words, catch_exceptions=False, **options)


def run(*args: Any, code: int = 0, **options: Any) -> Result:
    """Run a command that exits with this code."""
    result = invoke(*args, **options)
    assert result.exit_code == code, result.output
    return result


def refuse(*args: Any, says: str) -> None:
    """Bad input: exit code 2, nothing on stdout, one line on stderr."""
    result = run(*args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands by their words, those of groups such as ``datasets show`` too."""
    for name, command in (group or COMMAND).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def options(command: Any) -> list[Any]:
    """A command's options, without its arguments."""
    return [option for option in command.params if option.opts[0].startswith("-")]
