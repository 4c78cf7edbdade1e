"""``llms.txt``, an index of the pages with a line on each; ``llms-full.txt``, all their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def first_sentence(doctree: nodes.document) -> str:
    """What a page says of itself first."""
    paragraph = next(iter(doctree.findall(nodes.paragraph)), None)
    text = " ".join(paragraph.astext().split()) if paragraph is not None else ""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0].rstrip(".:")


def in_order(env: BuildEnvironment, page: str, depth: int = 0) -> Iterator[tuple[str, int]]:
    """Pages as the contents list them, and how deep each stands."""
    yield page, depth
    for child in env.toctree_includes.get(page, []):
        yield from in_order(env, child, depth + 1)


def write(app: Sphinx, error: Exception | None) -> None:
    """Write both files beside the pages."""
    if error is not None or app.builder.name != "html":
        return
    env, out = app.env, Path(app.outdir)
    head = f"# {app.config.project}\n\n> {first_sentence(env.get_doctree('index'))}.\n"
    lines, texts = [head], [head]
    for page, depth in in_order(env, app.config.root_doc):
        title = env.titles[page].astext()
        if depth == 1:
            lines.append(f"\n## {title}\n")
        address = app.builder.get_target_uri(page)
        lines.append(f"- [{title}]({address}): {first_sentence(env.get_doctree(page))}")
        texts.append(f"\n<!-- {address} -->\n\n{Path(env.doc2path(page)).read_text()}")
    (out / "llms.txt").write_text("\n".join(lines) + "\n")
    (out / "llms-full.txt").write_text("\n".join(texts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
