"""What every command has: options with one name, and errors in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from persim_gym.cli.messages import COMMAND, RUNNING

#: The type behind an argument's name, and the end of a help text and its parts.
_TYPE = re.compile(r" <\w+>$")
_END = re.compile(r"  \[([^\[\]]*)\]$")
_RANGE = re.compile(r"(?:([\d.]+)<=)?x(?:>=[\d.]+|<=([\d.]+))?")
_BETWEEN = re.compile(r"; (?=[\d.]+<=x|x[<>]=|required)")
_DEFAULT = re.compile(r"default: \((.*)\)")


class Command(TyperCommand):
    """A command whose options have one name each.

    Of the long names that an option is declared with, the help shows the first. The others are
    those that it once had, or has elsewhere: they are taken, and shown nowhere.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.former: dict[str, str] = {}
        for option in self.params:
            _write_plainly(option)
            shown, *former = [name for name in option.opts if name.startswith("--")] or [""]
            self.former |= dict.fromkeys(former, shown)
            option.opts = [name for name in option.opts if name not in former]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse words, of which former names of options are read as the present ones."""
        words = list(self._present(args))
        if ctx.resilient_parsing and words and words[-1].startswith("-"):
            # A shell asks for the value of the last option: without one nothing would be parsed.
            words = words[:-1]
        return super().parse_args(ctx, words)

    def _present(self, args: Sequence[str]) -> Iterator[str]:
        for at, word in enumerate(args):
            if word == "--":
                yield from args[at:]
                return
            name, equals, value = word.partition("=")
            yield self.former.get(name, name) + equals + value

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        ctx.meta[COMMAND] = self
        running = RUNNING.set((self, ctx.find_root().command))
        try:
            return super().invoke(ctx)
        finally:
            RUNNING.reset(running)


class Commands(typer.Typer):
    """A Typer application of such commands."""

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[Any], Any]:
        """See :meth:`typer.Typer.command`."""
        return super().command(name, **{"cls": Command} | kwargs)


def _write_plainly(option: Any) -> None:
    """Let an option's line of help be without the signs of programs."""
    record = option.get_help_record

    def plain(ctx: Any) -> tuple[str, str] | None:
        line = record(ctx)
        return None if line is None else (_TYPE.sub("", line[0]), _plainly(line[1]))

    option.get_help_record = plain


def _plainly(text: str) -> str:
    """A help text whose end ``[default: (5); x>=1]`` is ``[default: 5]``."""
    match = _END.search(text)
    if match is None:
        return text
    parts = []
    for part in _BETWEEN.split(match[1]):
        span = _RANGE.fullmatch(part)
        if span is None:
            parts.append(_DEFAULT.sub(r"default: \1", part))
        elif span[1] and span[2]:
            parts.append(f"{span[1]} to {span[2]}")
    end = f"  [{'; '.join(parts)}]" if parts else ""
    return text[: match.start()] + end
