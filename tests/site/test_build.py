"""The built site: whole, without a dead link, and nothing of it is fetched from elsewhere."""

from __future__ import annotations

import importlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import persim_gym
from tests.site.sources import DOCS, NOTEBOOKS, PAGES

pytestmark = pytest.mark.slow

#: Attributes by which a page makes a browser fetch something.
FETCHED = {
    ("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"),
    ("video", "src"), ("audio", "src"), ("object", "data"), ("embed", "src"), ("use", "href"),
}  # fmt: skip


class Page(HTMLParser):
    """What a page links to, what it fetches, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev", "index", "search"):
            return
        self.fetched += [value for key, value in given.items() if (tag, key) in FETCHED]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in site.rglob("*.html")}


def test_every_source_is_a_page(site: Path) -> None:
    for source in [*PAGES, *NOTEBOOKS]:
        there = source.relative_to(DOCS).as_posix().removesuffix(".md").removesuffix(".nb.py")
        assert (site / f"{there}.html").exists(), there


def test_links_and_anchors(pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not file.exists() or (
                anchor and file in pages and anchor not in pages[file].anchors
            ):
                dead.append(f"{path.name} -> {link}")
    assert not dead


def test_nothing_is_fetched(site: Path, pages: dict[Path, Page]) -> None:
    foreign = {
        f"{path.name}: {address}"
        for path, page in pages.items()
        for address in page.fetched
        if re.match(r"(https?:)?//", address)
    }
    assert not foreign
    for style in site.rglob("*.css"):
        outside = re.findall(r"@import[^;]*|url\(\s*['\"]?(?:https?:)?//[^)]*", style.read_text())
        assert not outside, f"{style.name}: {outside}"


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    text = (site / "explanations" / "model.html").read_text()
    assert text.count("<math") >= 10


def test_search_finds(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    found = json.loads(index[index.index("{") : index.rindex("}") + 1])
    assert "adaptation" in found["docnames"]
    assert "train_in_simulator" in json.dumps(found["objects"])


def test_version_is_shown(site: Path) -> None:
    assert f"persim_gym {persim_gym.__version__}" in (site / "index.html").read_text()


def test_every_public_name_is_documented(pages: dict[Path, Page]) -> None:
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        names = importlib.import_module("public_names")
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    modules = names.public_modules()
    expected = {"envs", "offline", "learned", "planning", "policies", "evaluation", "experiments"}
    assert {f"persim_gym.{name}" for name in (*expected, "core", "training")} <= set(modules)
    anchors = set().union(*(page.anchors for page in pages.values()))
    missing = [
        f"{module}.{name}"
        for module in modules
        for name, _ in names.exported(importlib.import_module(module))
        if f"{module}.{name}" not in anchors and not name.startswith("__")
    ]
    assert not missing, "a public module needs a page in docs/reference/api, as the others have"


def test_every_command_is_documented(pages: dict[Path, Page]) -> None:
    import typer

    from persim_gym.cli import app

    path = next(path for path in pages if path.name == "command-line.html")
    for name, command in typer.main.get_command(app).commands.items():
        assert f"persim-gym-{name}" in pages[path].anchors
        for parameter in command.params:
            if not parameter.hidden and parameter.param_type_name == "option":
                assert parameter.opts[0] in path.read_text(), f"{name} {parameter.opts[0]}"


def test_index_for_machines(site: Path) -> None:
    index = (site / "llms.txt").read_text()
    assert index.startswith("# persim_gym\n\n> ")
    linked = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", index, re.MULTILINE)
    assert len(linked) == len(re.findall(r"^- ", index, re.MULTILINE))
    assert all((site / address).exists() for address in linked)
    assert {"tables.html", "reference/api/learned.html"} <= set(linked)
    full = (site / "llms-full.txt").read_text()
    assert "# Tables" in full
    assert "PerSim.fit(" in full
