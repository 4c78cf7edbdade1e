"""Six readers find what they need: within two clicks of the first page, in the section named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.site.sources import DOCS, links, slug

LIST = DOCS / "reader-tasks.md"
TASKS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in LIST.read_text().splitlines()
    if re.match(r"\| \d", line)
]


def within(clicks: int) -> set[Path]:
    """Pages that so many links lead to from the first one."""
    reached = {DOCS / "index.md"}
    for _ in range(clicks):
        pages = {page for page in reached if page.suffix == ".md" and page != LIST}
        reached |= {file for page in pages for _, file, _ in links(page)}
    return {page for page in reached if page.is_file()}


def section(page: Path, anchor: str) -> str:
    """The text below a heading, up to the next of its level."""
    parts = re.split(r"^(#+ .*)$", page.read_text(), flags=re.MULTILINE)
    for k in range(1, len(parts), 2):
        if slug(parts[k].lstrip("# ")) == anchor:
            return parts[k + 1]
    raise AssertionError(f"{page.name} has no section {anchor!r}")


def test_there_are_six() -> None:
    assert len(TASKS) >= 6


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task[1])
def test_answer_is_found(task: list[str]) -> None:
    _, _, where, answer = task
    target = re.search(r"\]\(([^)#]+)#([^)]+)\)", where)
    assert target, f"{where} names no section of a page"
    page = (DOCS / target[1]).resolve()
    # Not by way of the list of tasks itself.
    assert page in within(2), f"{target[1]} is more than two clicks from the first page"
    assert answer.strip("`") in section(page, target[2]), f"{target[1]} does not say {answer}"
