"""Pages that need nothing beside them, for light and dark screens: Jinja2 templates, one style.

A page is a template of this room that extends ``page.html.jinja``; ``parts.html.jinja`` has what
pages are made of: tiles, pictures, tables. Text is escaped wherever it comes from.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Sequence
from typing import Any

import jinja2

#: Pixels of a CSS pixel in figures: sharp on dense screens.
DENSITY = 2


class Bold(str):
    """Text of a table's cell that stands out."""

    __slots__ = ()


def render(template: str, **context: Any) -> str:
    """The text of a template, such as ``"report.html.jinja"``.

    Args:
        template: Name of a file in ``templates``.
        **context: What it uses; a name that is missing is an error.
    """
    return _environment().get_template(template).render(context)


def data_url(content: bytes, kind: str) -> str:
    """Content as a URL that needs no network, such as of kind ``"image/png"``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def typeset(value: object) -> str:
    """A cell's text; a negative number has a true minus sign."""
    text = str(value)
    negative = text.startswith("-") and text[1:2].isdigit()
    return text.replace("-", "\N{MINUS SIGN}") if negative else text


def plain(text: str) -> str:
    """Text for Markdown that no part of it takes for markup: tags, links, code, a new line."""
    one_line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", one_line)


def code(lines: Sequence[str], language: str = "") -> str:
    """Lines as a block of code in Markdown, which none of them can end."""
    lines = [" ".join(line.split()) for line in lines]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("persim_gym.pages"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "data_url": data_url,
        "typeset": typeset,
        "plain": plain,
        "code": code,
        "css_width": _css_width,
        "bold": lambda cell: isinstance(cell, Bold),
    }
    return environment


def _css_width(png: bytes) -> int:
    return int.from_bytes(png[16:20], "big") // DENSITY
