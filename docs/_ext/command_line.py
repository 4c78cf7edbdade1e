"""``:::{command-line}``: every command, from the command line's own help."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from persim_gym.cli import app as program


def sections(path: str, command: Any, level: int) -> Iterator[str]:
    """Markdown of a command and of those under it."""
    with command.context_class(command, info_name=path) as ctx:
        usage = f"{path} {' '.join(command.collect_usage_pieces(ctx))}"
        records = [parameter.get_help_record(ctx) for parameter in command.get_params(ctx)]
        rows = [f"| {code(names)} | {cell(help)} |" for names, help in filter(None, records)]
        names = command.list_commands(ctx) if hasattr(command, "commands") else []
    yield f"{'#' * level} {path}"
    yield f"```text\n{usage}\n```"
    yield plain(command.help)
    if rows:
        yield "\n".join(["| option | meaning |", "| --- | --- |", *rows])
    if command.epilog:
        yield f"```bash\n{examples(command.epilog)}\n```"
    for name in names:
        if not command.commands[name].hidden:
            yield from sections(f"{path} {name}", command.commands[name], level + 1)


def code(text: str) -> str:
    """Text in a cell, letter by letter."""
    return "`" + text.replace("|", r"\|") + "`"


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(plain(text).split()).replace("|", r"\|")


def plain(text: str | None) -> str:
    """Help text as Markdown: nothing in it is markup but what stands in ticks."""
    text = re.sub(r"[\b\f]", "", text or "").strip()
    return re.sub(r"(?<!\\)([<>*_\[\]$])", r"\\\1", text)


def examples(epilog: str) -> str:
    """The commands of an epilog, without the title and the indent of the terminal's help."""
    lines = re.sub(r"[\b\f]", "", epilog).strip("\n").splitlines()[1:]
    return textwrap.dedent("\n".join(lines)).strip()


class CommandLine(SphinxDirective):
    """The reference of the command line."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        group = typer.main.get_command(program)
        text = "\n\n".join(sections("persim-gym", group, 2))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
