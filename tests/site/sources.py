"""The pages as their sources: titles, anchors, links, sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
#: What a reader of the repository sees first, and the site.
FRONT = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT")]
PAGES = [*sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.nb.py"))

#: A picture's words and its file, in Markdown, or as HTML where it has a width.
PICTURE = re.compile(
    r"!\[(?P<words>[^\]]*)\]\((?P<file>[^)\s]+)\)"
    r'|<img src="(?P<src>[^"]+)"[^>]* alt="(?P<alt>[^"]*)"'
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def markdown(page: Path) -> str:
    """The text of a page, or of a notebook's text cells, without blocks of code."""
    text = page.read_text()
    if page.suffix == ".py":
        cells = re.split(r"^# %%.*\n", text, flags=re.MULTILINE)[1:]
        kinds = re.findall(r"^# %%(.*)$", text, flags=re.MULTILINE)
        chosen = [c for c, kind in zip(cells, kinds, strict=True) if "markdown" in kind]
        text = "\n".join(re.sub(r"^# ?", "", cell, flags=re.MULTILINE) for cell in chosen)
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", markdown(page), re.MULTILINE)
    return {slug(title) for title in titles}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Links of a page within the repository: as written, the file, and the anchor."""
    for target in LINK.findall(markdown(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        yield target, (page.parent / path).resolve() if path else page, anchor


def pictures(page: Path) -> Iterator[tuple[str, str]]:
    """Pictures of a page that are files of the repository: their words, and the files."""
    for match in PICTURE.finditer(page.read_text()):
        target = match["file"] or match["src"]
        if not re.match(r"https?:", target):
            yield match["words"] or match["alt"] or "", target


def sentences(text: str) -> Iterator[str]:
    """The sentences of Markdown; code and formulas are a sign each, and no words."""
    text = re.sub(r"<!--.*?-->|</?[a-z][^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"^:::.*$|^:\w+:.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|``.+?``|`[^`]+`", "§", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|\|", text):
        for sentence in re.split(r"(?<=[.!?:;])[\"”)*]*\s+", block):
            yield " ".join(sentence.split())
