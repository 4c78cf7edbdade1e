"""Commands, run inside the test's own process."""

from __future__ import annotations

import functools
from typing import Any

from typer import testing
from typer.testing import CliRunner, Result

from persim_gym.cli import app

# Typer makes all commands anew for every call, which takes longer than most of them do.
testing._get_command = functools.cache(testing._get_command)
COMMAND = testing._get_command(app)


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
