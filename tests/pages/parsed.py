"""Pages, parsed strictly."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "img", "source", "br")
ADDRESSES = ("src", "srcset", "href", "data", "poster", "action")


class Page(HTMLParser):
    """What a page shows and what it would load; every tag is closed in its turn, once.

    Attributes:
        loads: Addresses, but for those within the page.
        within: Places within the page that it links to.
        ids: Places that can be linked to.
        tags: Names of all tags.
        text: What is to be read, in pieces.
        boxes: The class of what is around each table.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.within: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.boxes: list[str | None] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self._open == []
        assert len(self.ids) == len(set(self.ids))
        assert set(self.within) <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        addresses = [value or "" for name, value in attrs if name in ADDRESSES]
        self.loads += [value for value in addresses if not value.startswith("#")]
        self.within += [value[1:] for value in addresses if value.startswith("#")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        if tag == "table":
            self.boxes.append(self._open[-1][1])
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
