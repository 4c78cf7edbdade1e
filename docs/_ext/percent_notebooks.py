"""Notebooks as pages: Python files in the percent format, with the outputs of their last run.

`tools/notebooks.py` runs them and keeps the outputs in ``docs/_build/notebooks``. Where a notebook
was not run since it was changed, its page has no outputs.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def name_of(page: Path) -> str:
    """``five_minute_tour`` of ``five_minute_tour.nb.py``."""
    return page.name.removesuffix(".nb.py")


def with_outputs(path: Path, kept: Path) -> Any:
    """A notebook, with the outputs of its last run if that was of the same cells."""
    notebook = jupytext.read(path)
    if kept.exists():
        last = nbformat.read(kept, as_version=4)
        if [cell.source for cell in last.cells] == [cell.source for cell in notebook.cells]:
            return last
    return notebook


def markdown(notebook: Any, images: Path, page: Path) -> Iterator[str]:
    """The cells of a notebook and their outputs, as Markdown."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        yield f"```python\n{cell.source}\n```"
        for k, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                image = images / f"{name_of(page)}-{number}-{k}.png"
                image.write_bytes(base64.b64decode(data["image/png"]))
                yield f"![What the cell draws]({os.path.relpath(image, page.parent)})"
            elif text := (output.get("text") or data.get("text/plain", "")).rstrip():
                yield f"```{{code-block}} text\n:class: output\n\n{text}\n```"


class PercentParser(MystParser):
    """Reads a notebook as the Markdown that it is made of."""

    supported = ("percent",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document."""
        env = document.settings.env
        page = Path(env.doc2path(env.docname))
        kept = Path(env.srcdir) / "_build" / "notebooks" / f"{name_of(page)}.ipynb"
        env.note_dependency(str(kept))
        parts = list(markdown(with_outputs(page, kept), kept.parent, page))
        if kept.exists():
            link = f"[Download this notebook](../_build/notebooks/{kept.name})"
            parts.insert(1, f"{link} to run it yourself.")
        super().parse("\n\n".join(parts), document)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_source_suffix(".nb.py", "percent")
    app.add_source_parser(PercentParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
