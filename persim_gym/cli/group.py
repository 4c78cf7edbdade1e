"""How the command line fails: one clear line and an exit code, never a traceback by accident."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from persim_gym.cli.messages import COMMAND, in_words
from persim_gym.interrupts import INTERRUPTED, leave_at_once, raise_again

#: Exit codes: bad input (as Click's own usage errors) and any other failure.
BAD_INPUT, FAILED = 2, 1

ORDER = (
    "demo",
    "agents",
    "policies",
    "record",
    "datasets",
    "fit",
    "adapt",
    "evaluate",
    "validate",
    "equations",
    "export",
    "hub",
    "plan",
    "train",
    "baseline",
    "generate",
    "render",
    "explore",
    "benchmark",
    "report",
)

BEGINS_ANEW = "nothing was kept, the same command begins anew"

# Newer releases of Typer bring a Click of their own: this is the base class in either case.
_ClickError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class OneLineGroup(TyperGroup):
    """A group of commands that says in one line on stderr what is wrong.

    What the library raises for bad input ends with exit code 2, as wrong usage does. With the
    group's ``--debug`` exceptions pass, traceback and all.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of work, not of registration."""
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line, and end the process unless ``standalone_mode`` is off."""
        run = functools.partial(
            super().main,
            args,
            prog_name,
            complete_var,
            standalone_mode=False,
            windows_expand_args=windows_expand_args,
            **extra,
        )
        if not standalone_mode:
            return run()
        print_anything()
        raise_again()
        try:
            code = run()
        except _ClickError as error:
            ctx = getattr(error, "ctx", None)
            path = ctx.command_path if ctx is not None else "persim-gym"
            text = error.format_message().rstrip(".")
            if "unexpected extra argument" in text:
                text += ": several names are one word with commas, and one with a space is quoted"
            say("error", f"{text[:1].lower()}{text[1:]} (see {path} --help)")
            sys.exit(error.exit_code)
        except typer.Abort:
            say("stopped", "nothing was changed")
            sys.exit(FAILED)
        except KeyboardInterrupt:
            say("interrupted", "nothing was begun")
            sys.exit(INTERRUPTED)
        finally:
            leave_at_once()  # what is left is the end of the interpreter
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command of a context."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _sayer(ctx, "warning")
                return super().invoke(ctx)
        except KeyboardInterrupt:
            interrupted(BEGINS_ANEW)
        except Exception as error:
            if isinstance(error, (typer.Exit, typer.Abort, _ClickError, BrokenPipeError)):
                raise
            if _by_ctrl_c(error):
                interrupted(BEGINS_ANEW)
            if ctx.params.get("debug"):
                raise
            tell = _sayer(ctx, "error")
            if isinstance(error, (ValueError, TypeError, OSError, ImportError)):
                tell(str(error) or type(error).__name__)
                raise typer.Exit(BAD_INPUT) from error
            where = f"(persim-gym --debug {ctx.invoked_subcommand} shows where)"
            if _is_failure(error):
                tell(f"{error} {where}")
                raise typer.Exit(FAILED) from error
            say("error", f"{type(error).__name__}: {error} {where}")
            raise typer.Exit(BAD_INPUT) from error


def _is_failure(error: Exception) -> bool:
    """Whether the input was good: a loss diverged, there is no graphics driver, memory is full."""
    return isinstance(error, (FloatingPointError, RuntimeError)) and not isinstance(
        error, RecursionError
    )


def _by_ctrl_c(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: libraries turn it into others while they are imported."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def print_anything() -> None:
    """Let a console that has not all characters show them as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _sayer(ctx: Any, kind: str) -> Callable[..., None]:
    """What says a message of the library in the words of the command that runs in a context."""

    def tell(message: object, *_: Any, **__: Any) -> None:
        say(kind, in_words(str(message), ctx.meta.get(COMMAND), ctx.find_root().command))

    return tell


def visible(text: str) -> str:
    """Text as a terminal may have it: what would steer it, or hide, is written as an escape.

    Names in files are anybody's: a control character in one could colour the screen, write over
    what stands there, or turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(kind: str, text: str) -> None:
    """One line on stderr: ``error: ...``."""
    colour = typer.colors.RED if kind == "error" else typer.colors.YELLOW
    head = typer.style(f"{kind}:", fg=colour, bold=True)
    said = visible(" ".join(text.split()))
    if kind != "next":  # which is copied
        said = fitting(said, sys.stderr, len(kind) + 2)
    typer.echo(f"{head} {said}", err=True)


def fitting(text: str, stream: TextIO, used: int = 0, indent: int = 0) -> str:
    """Text as lines that fit a terminal; elsewhere it stays one line, to be searched."""
    if not stream.isatty():
        return text
    width = max(40, shutil.get_terminal_size((80, 24)).columns) - 1
    found = textwrap.wrap(
        "-" * used + text, width, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(found)[used:]


def interrupted(how_to_go_on: str) -> NoReturn:
    """End after Ctrl-C; a second one ends at once."""
    leave_at_once()
    say("interrupted", how_to_go_on)
    raise typer.Exit(INTERRUPTED)


@contextlib.contextmanager
def on_interrupt(how_to_go_on: str) -> Iterator[None]:
    """Say how to go on if Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        interrupted(how_to_go_on)
