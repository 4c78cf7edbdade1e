"""Links of the sources lead somewhere, and every page can be found."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.site.sources import DOCS, FRONT, NOTEBOOKS, PAGES, ROOT, anchors, links, name, pictures

MARKDOWN = [*FRONT, ROOT / "CHANGELOG.md", *PAGES, *NOTEBOOKS]


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, file, anchor in links(page):
        assert file.exists(), f"links to {target}, which does not exist"
        exact = file.name in {entry.name for entry in os.scandir(file.parent)}
        assert exact, f"links to {target}: other systems mind large and small letters"
        if anchor:
            there = anchors(file)
            assert anchor in there, f"links to {target}: there are {sorted(there)}"


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_pictures_are_there(page: Path) -> None:
    for alternative, target in pictures(page):
        assert (page.parent / target).exists(), target
        assert alternative, f"{target} has no words for those who do not see it"


def test_every_page_can_be_reached() -> None:
    reached, new = set(), {DOCS / "index.md"}
    while new:
        reached |= new
        new = {file for page in new for _, file, _ in links(page) if file.suffix in (".md", ".py")}
        new = {file for file in new if DOCS in file.parents} - reached
    hidden = {DOCS / "contributing.md", DOCS / "changelog.md"}  # in the site's contents
    assert {*PAGES, *NOTEBOOKS} - hidden <= reached


def test_pictures_of_results_have_a_command() -> None:
    """What the README and the results show is made by a command that is written down."""
    index = (DOCS / "results" / "index.md").read_text()
    named = re.findall(r"^\| (`[^|]+) \| ([^|]*`[^|]+) \|$", index, re.MULTILINE)
    patterns = [p for names, _ in named for p in re.findall(r"`([^`]+\.\w+)`", names)]
    assert patterns
    pages = [ROOT / "README.md", DOCS / "index.md", *sorted((DOCS / "results").glob("*.md"))]
    for page in pages:
        for _, target in pictures(page):
            picture = (page.parent / target).resolve().relative_to(DOCS / "images")
            assert any(fnmatch(str(picture), p) for p in patterns), f"{name(page)}: {target}"
