"""Formulas as MathML, which browsers draw themselves: no script, no font, nothing fetched."""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

#: Commands that docutils does not know, in words that it does.
SPELLINGS = {r"\dots": r"\ldots"}

log = logging.getLogger(__name__)


def formula(node: nodes.Element, block: bool) -> str:
    """A formula's MathML; what cannot be drawn stays text and is a warning of the build."""
    text = node.astext()
    for unknown, known in SPELLINGS.items():
        text = text.replace(unknown, known)
    try:
        return str(tex2mathml(text, as_block=block))
    except MathError as error:
        log.warning("formula %r: %s", text, error, location=node)
        return f"<code>{html.escape(text)}</code>"


def inline(writer: Any, node: nodes.math) -> None:
    """An inline formula."""
    writer.body.append(formula(node, block=False))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own, in a box that scrolls where the page is narrow."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append(formula(node, block=True))
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("config-inited", lambda _, config: setattr(config, "html_math_renderer", "mathml"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
